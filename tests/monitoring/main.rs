//! What docs/monitoring.md says of the metrics, held to the code's own table.

use minchat_bridge::metrics::table::{Measure, PREFIX, REGISTERED, Row, WITH_TLS};

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
    let rows: Vec<&Row> = REGISTERED.iter().chain(WITH_TLS).copied().collect();
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
fn each_metric_says_what_moves_it() {
    for row in documented() {
        assert!(row[4].ends_with('.'), "{}: {}", row[0], row[4]);
    }
}
