//! What docs/monitoring.md says of the metrics, held to the code's own table.

use minchat_bridge::metrics::table::{Measure, PLANNED, PREFIX, REGISTERED, Row};

/// What a metric that nothing moves yet says of itself.
const NOT_YET: &str = "Not in this version.";

/// The cells of each row of the document's table of metrics.
fn documented() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md");
    let document = std::fs::read_to_string(path).expect("there is a docs/monitoring.md");
    let (_, table) = document
        .split_once("<!-- metrics:begin -->\n")
        .expect("it has the first mark");
    let (table, _) = table
        .split_once("<!-- metrics:end -->")
        .expect("it has the second mark");
    let rows = table.lines().skip(2);
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The cells that the code decides.
fn cells(row: &Row) -> Vec<String> {
    let measure = match row.measure {
        Measure::Counter => "counter",
        Measure::Gauge => "gauge",
        Measure::Histogram(_) => "histogram",
    };
    let labels: Vec<String> = row.labels.iter().map(|name| format!("`{name}`")).collect();
    vec![
        format!("`{PREFIX}_{}`", row.name),
        measure.to_owned(),
        labels.join(", "),
        row.help.to_owned(),
    ]
}

#[test]
fn the_document_has_every_metric_as_the_code_has_it() {
    let documented = documented();
    let rows: Vec<&Row> = REGISTERED.iter().chain(PLANNED).copied().collect();
    let own = documented.len()
        - documented
            .iter()
            .filter(|row| row[0].starts_with("`process_"))
            .count();
    assert_eq!(own, rows.len(), "rows of the document's table");
    for (row, documented) in rows.iter().zip(&documented) {
        assert_eq!(
            cells(row),
            documented[..4],
            "in the order of the code's table"
        );
    }
}

#[test]
fn each_metric_says_what_moves_it_and_what_nothing_moves_says_so() {
    let documented = documented();
    for (place, row) in documented.iter().enumerate() {
        let says = &row[4];
        assert!(says.ends_with('.'), "{}: {says}", row[0]);
        let planned = (REGISTERED.len()..REGISTERED.len() + PLANNED.len()).contains(&place);
        assert_eq!(says.starts_with(NOT_YET), planned, "{}: {says}", row[0]);
    }
}
