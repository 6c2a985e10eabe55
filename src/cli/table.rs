//! Tables for people.

/// Where a column's texts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows below a heading, each column as wide as its widest text.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    align: [Align; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(heading: [(&str, Align); COLUMNS]) -> Self {
        Table {
            align: heading.map(|(_, align)| align),
            rows: vec![heading.map(|(name, _)| name.to_owned())],
        }
    }

    /// A row. Control characters, which would not stay in their column, are shown escaped.
    pub(super) fn row(&mut self, row: [String; COLUMNS]) {
        let escape = |c: char| -> String {
            match c.is_control() {
                true => c.escape_default().collect(),
                false => c.into(),
            }
        };
        self.rows
            .push(row.map(|text| text.chars().map(escape).collect()));
    }

    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &self.rows {
            let columns = row.iter().zip(widths).zip(self.align);
            let cells = columns.map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text() {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("N", Align::Right),
            ("X", Align::Left),
        ]);
        table.row(["a\nb".into(), "1".into(), "x".into()]);
        table.row(["longer".into(), "12".into(), String::new()]);
        assert_eq!(table.text(), "NAME     N  X\na\\nb     1  x\nlonger  12\n");
    }
}
