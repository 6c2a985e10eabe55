//! The contract's tables once more, as slowly and plainly as can be: tokens, a tree of them, and rules by hand.

use std::iter::Peekable;

use minchat_bridge::minchat::Kind;

/// A JSON value whose tokens are as they came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Token(String),
}

/// What the contract says of one payload.
#[derive(Debug, PartialEq)]
pub struct Expected {
    pub kind: Kind,
    pub data: String,
    pub ordering_key: Option<String>,
    pub legacy: bool,
    pub missing: bool,
}

pub fn expected(json: &str) -> Expected {
    let mut tree = Tree::of(without_mark(json));
    let kind = tree.kind();
    let before = tree.clone();
    tree.normalize(kind);
    let missing = required(kind).iter().any(|key| tree.last(key).is_none());
    let ordering_key = ordering_key(kind).and_then(|key| usable(tree.last(key)?));
    Expected {
        kind,
        data: tree.written(),
        ordering_key,
        legacy: tree != before || before.stays_old(kind),
        missing,
    }
}

/// The text behind a byte order mark, which is ignored.
pub fn without_mark(json: &str) -> &str {
    json.strip_prefix('\u{feff}').unwrap_or(json)
}

/// Cuts JSON text that is known to be well formed into its tokens.
pub fn tokens(json: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = json.chars().peekable();
    while let Some(first) = rest.next() {
        let mut token = String::from(first);
        match first {
            ' ' | '\t' | '\n' | '\r' => continue,
            '"' => loop {
                let next = rest.next().expect("a string ends");
                token.push(next);
                match next {
                    '"' => break,
                    '\\' => token.extend(rest.next()),
                    _ => {}
                }
            },
            '{' | '}' | '[' | ']' | ',' | ':' => {}
            _ => {
                while let Some(next) =
                    rest.next_if(|next| next.is_ascii_alphanumeric() || "+-.".contains(*next))
                {
                    token.push(next);
                }
            }
        }
        tokens.push(token);
    }
    tokens
}

/// The level of the value that stands deepest.
pub fn levels(json: &str) -> usize {
    let (mut depth, mut deepest) = (0, 0);
    for token in tokens(json) {
        match token.as_str() {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            "," | ":" => continue,
            _ => deepest = deepest.max(depth + 1),
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn decoded(token: &str) -> Option<String> {
    serde_json::from_str(token).ok()
}

impl Tree {
    fn of(json: &str) -> Tree {
        let mut tokens = tokens(json)
            .into_iter()
            .filter(|token| token != "," && token != ":")
            .peekable();
        Tree::next(&mut tokens)
    }

    fn next(tokens: &mut Peekable<impl Iterator<Item = String>>) -> Tree {
        let token = tokens.next().expect("a value");
        match token.as_str() {
            "{" => {
                let mut members = Vec::new();
                while tokens.next_if(|token| token == "}").is_none() {
                    members.push((tokens.next().expect("a key"), Tree::next(tokens)));
                }
                Tree::Object(members)
            }
            "[" => {
                let mut elements = Vec::new();
                while tokens.next_if(|token| token == "]").is_none() {
                    elements.push(Tree::next(tokens));
                }
                Tree::Array(elements)
            }
            _ => Tree::Token(token),
        }
    }

    fn written(&self) -> String {
        match self {
            Tree::Token(token) => token.clone(),
            Tree::Array(elements) => format!(
                "[{}]",
                elements
                    .iter()
                    .map(Tree::written)
                    .collect::<Vec<_>>()
                    .join(",")
            ),
            Tree::Object(members) => {
                let written = members
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", value.written()));
                format!("{{{}}}", written.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn find(&self, key: &str) -> Option<usize> {
        let Tree::Object(members) = self else {
            return None;
        };
        members
            .iter()
            .rposition(|(name, _)| decoded(name).as_deref() == Some(key))
    }

    fn last(&self, key: &str) -> Option<&Tree> {
        let Tree::Object(members) = self else {
            return None;
        };
        Some(&members[self.find(key)?].1)
    }

    fn last_mut(&mut self, key: &str) -> Option<&mut Tree> {
        let at = self.find(key)?;
        let Tree::Object(members) = self else {
            return None;
        };
        Some(&mut members[at].1)
    }

    fn is_object(&self) -> bool {
        matches!(self, Tree::Object(_))
    }

    fn is_string(&self) -> bool {
        matches!(self, Tree::Token(token) if token.starts_with('"'))
    }

    fn kind(&self) -> Kind {
        let there = |key| self.last(key).is_some();
        let string = |key| self.last(key).is_some_and(Tree::is_string);
        let object = |key| self.last(key).is_some_and(Tree::is_object);
        let agent = [
            "ai_agent_username",
            "chatbot_username",
            "chatbotUsername",
            "aiAgentUsername",
            "fields",
        ];
        if string("event") && agent.into_iter().any(there) {
            Kind::AiAgentAction
        } else if object("sent_by") || object("sentBy") {
            Kind::MessageSent
        } else if (there("participant_user_ids") || there("participantUserIds")) && string("id") {
            Kind::ConversationCreated
        } else if string("id") && (string("username") || string("name")) {
            Kind::UserDailyActive
        } else {
            Kind::Unrecognized
        }
    }

    fn normalize(&mut self, kind: Kind) {
        for (old, today) in old_spellings(kind) {
            self.rename(old, today);
        }
        match kind {
            Kind::MessageSent => {
                self.last_mut("sent_by")
                    .into_iter()
                    .for_each(Tree::normalize_user);
                if let Some(Tree::Array(users)) = self.last_mut("sent_to") {
                    users.iter_mut().for_each(Tree::normalize_user);
                }
            }
            Kind::ConversationCreated => {
                if let Some(one) = self
                    .last_mut("participant_user_ids")
                    .filter(|ids| ids.is_string())
                {
                    *one = Tree::Array(vec![one.clone()]);
                }
            }
            Kind::AiAgentAction => {
                if let Some(fields) = self.last_mut("fields") {
                    fields.list();
                }
            }
            Kind::UserDailyActive | Kind::Unrecognized => {}
        }
    }

    fn normalize_user(&mut self) {
        for (old, today) in old_spellings(Kind::UserDailyActive) {
            self.rename(old, today);
        }
    }

    fn list(&mut self) {
        let Tree::Object(members) = self else { return };
        let entry = |(name, value): &(String, Tree)| {
            let name = ("\"fieldName\"".to_owned(), Tree::Token(name.clone()));
            Tree::Object(vec![name, ("\"fieldValue\"".to_owned(), value.clone())])
        };
        *self = Tree::Array(members.iter().map(entry).collect());
    }

    /// Once an old spelling is renamed, today's is there, and the next ones stay.
    fn rename(&mut self, old: &str, today: &str) {
        if self.find(today).is_some() {
            return;
        }
        let found = self.find(old);
        let Tree::Object(members) = self else { return };
        if let Some(at) = found {
            members[at].0 = format!("\"{today}\"");
        }
    }

    /// Whether an old spelling came in that is not renamed, at the top or in a user that counts.
    fn stays_old(&self, kind: Kind) -> bool {
        let old_in = |tree: &Tree, kind| {
            old_spellings(kind)
                .iter()
                .any(|(old, _)| tree.find(old).is_some())
        };
        let mut users = Vec::new();
        if kind == Kind::MessageSent {
            users.extend(self.last("sent_by").or(self.last("sentBy")));
            if let Some(Tree::Array(several)) = self.last("sent_to").or(self.last("sentTo")) {
                users.extend(several);
            }
        }
        old_in(self, kind)
            || users
                .into_iter()
                .any(|user| old_in(user, Kind::UserDailyActive))
    }
}

fn old_spellings(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::MessageSent => &[
            ("sentBy", "sent_by"),
            ("sentTo", "sent_to"),
            ("chatId", "chat_id"),
            ("channelId", "chat_id"),
            ("chatMetadata", "chat_metadata"),
        ],
        Kind::UserDailyActive => &[("lastActive", "last_active"), ("createdAt", "created_at")],
        Kind::ConversationCreated => &[
            ("participantUserIds", "participant_user_ids"),
            ("createdAt", "created_at"),
        ],
        Kind::AiAgentAction => &[
            ("chatbot_username", "ai_agent_username"),
            ("chatbotUsername", "ai_agent_username"),
            ("aiAgentUsername", "ai_agent_username"),
            ("chatId", "chat_id"),
            ("channelId", "chat_id"),
        ],
        Kind::Unrecognized => &[],
    }
}

fn required(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MessageSent => &["sent_by", "sent_to", "chat_id"],
        Kind::ConversationCreated => &["id", "participant_user_ids"],
        Kind::AiAgentAction => &["event", "ai_agent_username", "chat_id"],
        Kind::UserDailyActive => &["id", "username", "name"],
        Kind::Unrecognized => &[],
    }
}

fn ordering_key(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::MessageSent | Kind::AiAgentAction => Some("chat_id"),
        Kind::ConversationCreated | Kind::UserDailyActive => Some("id"),
        Kind::Unrecognized => None,
    }
}

fn usable(value: &Tree) -> Option<String> {
    let Tree::Token(token) = value else {
        return None;
    };
    let text = decoded(token).filter(|text| !text.is_empty() && text.len() <= 256)?;
    let written = text.chars().map(|character| match u32::from(character) {
        code @ (..0x20 | 0x7f) => format!("%{code:02X}"),
        code @ 0x80..0xa0 => format!("%C2%{code:02X}"),
        code if (0xfdd0..=0xfdef).contains(&code) || code % 0x10000 >= 0xfffe => {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).bytes();
            bytes.map(|byte| format!("%{byte:02X}")).collect()
        }
        _ => character.to_string(),
    });
    Some(written.collect())
}
