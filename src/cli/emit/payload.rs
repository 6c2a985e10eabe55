use crate::minchat::{Kind, SAMPLES};

/// A body to post.
pub(super) struct Payload {
    pub(super) kind: Kind,
    pub(super) json: String,
}

/// What a sample's metadata looks like, and what goes out: the one place where a sample can say
/// that it is one.
const METADATA: &str = r#""metadata": {}"#;
const MARKED: &str = r#""metadata": {"minchat_bridge_sample": true}"#;

/// The kinds that there are samples of, in the samples' order.
pub(super) fn kinds() -> impl Iterator<Item = Kind> {
    let mut kinds: Vec<Kind> = SAMPLES.iter().map(|sample| sample.kind).collect();
    kinds.dedup();
    kinds.into_iter()
}

/// Today's sample of each of these kinds.
pub(super) fn of_kinds(kinds: &[Kind]) -> Vec<Payload> {
    let current = |kind: &Kind| SAMPLES.iter().find(|sample| sample.kind == *kind);
    kinds
        .iter()
        .filter_map(current)
        .map(|sample| Payload {
            kind: sample.kind,
            json: sample.json.replacen(METADATA, MARKED, 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn there_is_a_sample_of_every_kind_that_a_url_can_say() {
        let mut names: Vec<_> = kinds().map(Kind::name).collect();
        names.sort_unstable();
        let said = Kind::ALL
            .into_iter()
            .filter(|kind| *kind != Kind::Unrecognized);
        let mut said: Vec<_> = said.map(Kind::name).collect();
        said.sort_unstable();
        assert_eq!(names, said);
    }

    #[test]
    fn a_sample_says_that_it_is_one_where_it_has_metadata_and_is_else_as_it_was() {
        for payload in of_kinds(&kinds().collect::<Vec<_>>()) {
            let sample = SAMPLES.iter().find(|sample| sample.kind == payload.kind);
            let sample = sample.expect("the payload was made from it");
            assert!(sample.name.ends_with(".current"), "{}", sample.name);
            let mut expected: Value = serde_json::from_str(sample.json).expect("it is JSON");
            if let Some(metadata) = expected.get_mut("metadata") {
                *metadata = json!({"minchat_bridge_sample": true});
            }
            let posted: Value = serde_json::from_str(&payload.json).expect("it is JSON");
            assert_eq!(posted, expected, "{}", sample.name);
        }
    }

    #[test]
    fn messages_and_conversations_have_metadata() {
        for kind in [Kind::MessageSent, Kind::ConversationCreated] {
            let payload = &of_kinds(&[kind])[0];
            assert!(payload.json.contains("minchat_bridge_sample"));
        }
    }
}
