//! How many events lie in the queues for what no queue was bound for.

use std::sync::Weak;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::broker::Broker;
use super::link::Link;

const EVERY: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_secs(5);

/// Tells the depth of all `queues` together, until the broker is dropped.
pub(super) async fn watch(
    broker: Weak<Broker>,
    queues: impl Fn() -> Vec<String> + Send + Sync,
    tell: impl Fn(u64) + Send + Sync,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(broker) = broker.upgrade() else {
            return;
        };
        let Some(link) = broker.live_link().await else {
            continue;
        };
        let mut total = None;
        for queue in queues() {
            if let Ok(Some(depth)) = timeout(WITHIN, depth(&link, &queue)).await {
                *total.get_or_insert(0) += u64::from(depth);
            }
        }
        if let Some(total) = total {
            tell(total);
        }
    }
}

/// None if it is not there, or not to be seen. Each has a channel of its own, since a queue that
/// is missing closes it; it is closed before the next one is opened.
async fn depth(link: &Link, queue: &str) -> Option<u32> {
    let channel = link.channel().await.ok()?;
    let options = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let queue = ShortString::try_new(queue).ok()?;
    let queue = channel
        .queue_declare(queue, options, FieldTable::default())
        .await
        .ok()?;
    channel.close(200, "the depth is known".into()).await.ok()?;
    Some(queue.message_count())
}
