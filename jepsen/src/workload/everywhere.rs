//! The same asked of all nodes at once.

use futures::StreamExt as _;
use futures::stream;

/// Nodes that are asked at once; the others wait for their turn.
const AT_ONCE: usize = 5;

/// What `ask` gives for each of these nodes, in their order.
pub(super) async fn everywhere<T, F>(nodes: &[usize], ask: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    stream::iter(nodes.iter().copied().map(ask)).buffered(AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn nodes_are_asked_at_once_up_to_a_bound_and_answers_keep_their_order() {
        let (asked, most) = (Cell::new(0_usize), Cell::new(0_usize));
        let ask = |turn: usize| {
            let (asked, most) = (&asked, &most);
            async move {
                asked.set(asked.get() + 1);
                most.set(most.get().max(asked.get()));
                tokio::task::yield_now().await;
                asked.set(asked.get() - 1);
                2 * turn
            }
        };
        let nodes: Vec<usize> = (0..12).collect();
        let answers = everywhere(&nodes, ask).await;
        assert_eq!(answers, nodes.iter().map(|turn| 2 * turn).collect::<Vec<_>>());
        assert_eq!(most.get(), AT_ONCE);
    }
}
