//! Routes go somewhere, and only to brokers that are on.

use super::judge::Judge;
use super::path::SettingPath;

pub(super) fn check(judge: &mut Judge<'_>) {
    let config = judge.config;
    for (kind, route) in &config.routes {
        let here = SettingPath::of(["routes", kind.as_str()]);
        let brokers = [
            ("kafka", route.kafka.is_some(), config.kafka.is_some()),
            ("amqp", route.amqp.is_some(), config.amqp.is_some()),
            ("file", route.file.is_some(), config.file.is_some()),
        ];
        for (broker, _, _) in brokers
            .iter()
            .filter(|(_, is_routed, is_on)| *is_routed && !is_on)
        {
            judge.refuse(
                &[here.child(*broker), SettingPath::of([*broker])],
                format!("it names a broker that is off, as there is no section {broker}"),
                format!("add the section {broker}, or drop this destination"),
            );
        }
        let goes_somewhere = brokers.iter().any(|(_, is_routed, _)| *is_routed);
        let discard = here.child("discard");
        if route.discard && kind == "dead-letter" {
            judge.refuse(
                &[discard],
                "what was let in is never thrown away",
                "give it a destination, or drop the route",
            );
        } else if route.discard && goes_somewhere {
            judge.refuse(
                &[discard],
                "the kind is dropped, and has destinations too",
                "keep one of both",
            );
        } else if !route.discard && !goes_somewhere {
            judge.refuse(
                &[here],
                "it has no destination",
                "give kafka, amqp or file (such as kafka: {} for its own name there), or discard: true",
            );
        }
    }
}
