//! A closed loop whose requests may hang on the answers before, and may run out.

use std::sync::Mutex;
use std::time::Duration;

use domicile_raft::{Clock, SystemClock};
use hdrhistogram::Histogram;

use crate::http::{Connection, Request};

/// Makes a connection's next request from the last answer's body, which is empty at first. `None` ends it.
pub type Next<'a> = Box<dyn FnMut(&[u8]) -> Option<Request> + Send + 'a>;

/// What a run measured.
pub struct Load {
    pub latencies_us: Histogram<u64>,
    pub elapsed: Duration,
}

/// Runs one loop a connection for `time`, or until there is nothing to ask.
pub fn run(clock: &SystemClock, address: &str, time: Duration, loops: Vec<Next<'_>>) -> Load {
    let began = clock.monotonic();
    let all = Mutex::new(Histogram::new(3).unwrap());
    std::thread::scope(|scope| {
        for mut next in loops {
            let all = &all;
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                let mut latencies = Histogram::<u64>::new(3).unwrap();
                let mut last = Vec::new();
                while clock.monotonic().saturating_sub(began) < time {
                    let Some(request) = next(&last) else { break };
                    let sent = clock.monotonic();
                    last = connection.send(&request);
                    let took = clock.monotonic().saturating_sub(sent);
                    latencies.record(u64::try_from(took.as_micros()).unwrap()).unwrap();
                }
                all.lock().unwrap().add(latencies).unwrap();
            });
        }
    });
    let elapsed = clock.monotonic().saturating_sub(began);
    Load { latencies_us: all.into_inner().unwrap(), elapsed }
}
