//! Where a setting stands: `http.listen`, `routes.message.sent.kafka.topic`.

use std::fmt;

/// The keys from the root to a setting or a section. A key can itself contain dots.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingPath(Vec<String>);

impl SettingPath {
    /// Of keys, one by one.
    pub(super) fn of<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(keys.into_iter().map(Into::into).collect())
    }

    /// Of a text in which every dot divides two keys.
    pub(super) fn dotted(text: &str) -> Self {
        Self::of(text.split('.'))
    }

    /// One key further down.
    pub(super) fn child(&self, key: impl Into<String>) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.into());
        Self(keys)
    }

    /// One key further up; the root is its own parent.
    pub(super) fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The same section, another key.
    pub(super) fn sibling(&self, key: impl Into<String>) -> Self {
        self.parent().child(key)
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.0
    }

    /// The last key; of the root, nothing.
    pub(super) fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Whether this is `other` or stands above it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Whether the first keys of this are those of `pattern`, in which `*` is any one key.
    pub(super) fn begins_like(&self, pattern: &str) -> bool {
        let mut keys = self.0.iter();
        pattern
            .split('.')
            .all(|part| keys.next().is_some_and(|key| part == "*" || part == key))
    }

    /// Whether the keys are those of `pattern`, one for one.
    pub(super) fn is_like(&self, pattern: &str) -> bool {
        self.0.len() == pattern.split('.').count() && self.begins_like(pattern)
    }

    /// Whether this is a section that `pattern` stands in.
    pub(super) fn is_above(&self, pattern: &str) -> bool {
        let mut parts = pattern.split('.');
        self.0
            .iter()
            .all(|key| parts.next().is_some_and(|part| part == "*" || part == key))
            && parts.next().is_some()
    }

    /// `pattern` with each `*` replaced by the key that stands there in this path.
    pub(super) fn fill(&self, pattern: &str) -> Self {
        let keys = pattern.split('.').enumerate();
        Self::of(keys.map(|(depth, part)| match self.0.get(depth) {
            Some(key) if part == "*" => key.clone(),
            _ => part.to_owned(),
        }))
    }
}

impl fmt::Display for SettingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_pattern_is_one_key_even_if_the_key_has_dots() {
        let path = SettingPath::of(["routes", "message.sent", "kafka", "topic"]);
        assert!(path.is_like("routes.*.kafka.topic"));
        assert!(!path.is_like("routes.*.kafka"));
        assert!(path.begins_like("routes.*.kafka"));
        assert!(path.parent().is_above("routes.*.kafka.topic"));
        assert!(!path.is_above("routes.*.kafka.topic"));
        assert_eq!(
            path.fill("routes.*.amqp").to_string(),
            "routes.message.sent.amqp"
        );
        assert_eq!(path.to_string(), "routes.message.sent.kafka.topic");
    }
}
