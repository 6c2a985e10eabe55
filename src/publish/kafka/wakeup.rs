//! Has librdkafka wake a lane when its client has something to tell.
//!
//! rdkafka 0.39 offers this for consumers only; a producer's `poll` waits for its whole time-out, whatever comes. This is the
//! only module with `unsafe` code.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;

use rdkafka::bindings;
use rdkafka::producer::{BaseProducer, Producer};

use super::context::Context;
use crate::publish::Wakeup;

/// Wakes somebody whenever something comes into a client's queue that was empty.
pub(super) struct QueueWakeup {
    queue: *mut bindings::rd_kafka_queue_t,
    /// What the callback is given: at the same address for as long as librdkafka has it.
    wakeup: *mut Wakeup,
}

// SAFETY: librdkafka's functions on queues lock the queue, and `Wakeup` is `Send` and `Sync`.
unsafe impl Send for QueueWakeup {}

impl QueueWakeup {
    /// It has to be dropped before the producer is.
    pub(super) fn new(producer: &BaseProducer<Context>, wakeup: Wakeup) -> Self {
        let wakeup = Box::into_raw(Box::new(wakeup));
        // SAFETY: the producer is alive, so that its handle is valid, and the queue is counted as used until it is destroyed.
        // `wakeup` lives until the callback is taken back.
        let queue = unsafe {
            let queue = bindings::rd_kafka_queue_get_main(producer.client().native_ptr());
            bindings::rd_kafka_queue_cb_event_enable(queue, Some(wake), wakeup.cast());
            queue
        };
        QueueWakeup { queue, wakeup }
    }

    /// Whether the client has nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue was not destroyed.
        unsafe { bindings::rd_kafka_queue_length(self.queue) == 0 }
    }
}

impl Drop for QueueWakeup {
    fn drop(&mut self) {
        // SAFETY: librdkafka makes the callback while it holds the queue's lock, and takes the callback back under
        // that lock: afterwards nothing uses `wakeup`. Nobody uses the queue behind this.
        unsafe {
            bindings::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            bindings::rd_kafka_queue_destroy(self.queue);
            drop(Box::from_raw(self.wakeup));
        }
    }
}

/// Runs on a thread of librdkafka's, which holds the queue's lock.
unsafe extern "C" fn wake(_client: *mut bindings::rd_kafka_t, wakeup: *mut c_void) {
    // SAFETY: it is what `QueueWakeup::new` gave, and not yet freed.
    let wakeup = unsafe { &*wakeup.cast::<Wakeup>() };
    wakeup();
}
