//! The answers to accepted webhooks.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use uuid::Uuid;

use super::answer::{self, AnswerBody};
use super::problem;
use crate::delivery::Receipt;
use crate::envelope::Event;
use crate::minchat::Kind;

/// The answer to an accepted webhook.
pub(super) struct Accepted {
    id: Uuid,
    kind: Kind,
    outcome: Outcome,
}

enum Outcome {
    Event(Receipt),
    DryRun {
        attributes: String,
        destinations: Vec<String>,
    },
}

impl Accepted {
    /// The answer for an event that delivery has given a receipt for.
    pub(super) const fn event(id: Uuid, kind: Kind, receipt: Receipt) -> Self {
        Self {
            id,
            kind,
            outcome: Outcome::Event(receipt),
        }
    }

    /// The answer to a dry run, for an event that would be published to these destinations.
    pub(super) fn dry_run(event: &Event, kind: Kind, destinations: Vec<String>) -> Self {
        let outcome = Outcome::DryRun {
            attributes: event.attributes_json(),
            destinations,
        };
        Self {
            id: event.id(),
            kind,
            outcome,
        }
    }

    /// Builds the HTTP response. `success` is the status for an event; with 204, the response has no body.
    pub(super) fn into_response(self, success: StatusCode) -> HttpResponse {
        match self.outcome {
            Outcome::Event(_) if success == problem::NO_BODY => {
                answer::respond_empty(success, self.id)
            }
            Outcome::Event(receipt) => {
                let mut body = self.start(receipt.name(), 128);
                body.text("}");
                answer::respond(success, "application/json", body)
            }
            Outcome::DryRun {
                ref attributes,
                ref destinations,
            } => {
                let mut body = self.start("dry-run", 1024);
                body.text(",\"envelope\":");
                body.text(attributes);
                body.text(",\"destinations\":");
                body.json(destinations);
                body.text("}");
                answer::respond(problem::OK, "application/json", body)
            }
        }
    }

    fn start(&self, receipt: &str, capacity: usize) -> AnswerBody {
        let mut body = AnswerBody::with_capacity(capacity);
        body.text("{\"id\":\"");
        body.request_id(self.id);
        body.text("\",\"kind\":\"");
        body.text(self.kind.name());
        body.text("\",\"receipt\":\"");
        body.text(receipt);
        body.text("\"");
        body
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_receipt_is_answered_with_the_status_that_was_asked_for() {
        let id = Uuid::now_v7();
        let body = format!(r#"{{"id":"{id}","kind":"message.sent","receipt":"spooled"}}"#);
        for (status, body) in [(202, body.as_str()), (200, body.as_str()), (204, "")] {
            let accepted = Accepted::event(id, Kind::MessageSent, Receipt::Spooled);
            let response = accepted.into_response(problem::success(status));
            assert_eq!(response.status().as_u16(), status);
            let request_id = response
                .headers()
                .get("x-request-id")
                .and_then(|id| id.to_str().ok());
            assert_eq!(request_id, Some(&*id.to_string()));
            assert_eq!(
                to_bytes(response.into_body()).await.unwrap_or_default(),
                body
            );
        }
    }
}
