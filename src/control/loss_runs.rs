//! The runs of lost packets of one stream, as they come from its shard in pieces. Totals: a piece
//! takes the place of the one before.

use serde::{Serialize, Serializer};

use crate::shard::report::{LossRunsReport, RUN_LENGTHS};

/// How many runs of lost or discarded packets there were, by length; shown as pairs of length and
/// count, shortest first. The length 127 stands for all that are longer, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossRuns(
    /// From length 1 on, no longer than needed.
    Vec<u32>,
);

impl LossRuns {
    /// No runs.
    pub(super) const NONE: Self = Self(Vec::new());

    /// Takes in a piece.
    pub(super) fn take(&mut self, piece: &LossRunsReport) {
        let from = usize::from(piece.first_length).saturating_sub(1);
        let to = (from + piece.counts.len()).min(RUN_LENGTHS);
        if self.0.len() < to {
            self.0.resize(to, 0);
        }
        for (count, &of) in self.0[from.min(to)..to].iter_mut().zip(&piece.counts) {
            *count = of;
        }
        let len = self.0.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        self.0.truncate(len);
        self.0.shrink_to_fit();
    }

    /// Lengths, packets, with how many runs of each there were; shortest first.
    pub fn pairs(&self) -> impl Iterator<Item = (u8, u32)> {
        (1..).zip(self.0.iter().copied()).filter(|&(_, count)| count > 0)
    }
}

impl Serialize for LossRuns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pairs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ShardId, StreamRef},
        shard::report::RUNS_PIECE,
    };

    #[test]
    fn a_piece_takes_the_place_of_the_one_before() {
        let piece = |first_length, start: &[u32]| {
            let mut counts = [0; RUNS_PIECE];
            counts[..start.len()].copy_from_slice(start);
            let stream = StreamRef { shard: ShardId(0), serial: 1 };
            LossRunsReport { stream, call: None, is_final: false, first_length, counts }
        };
        let mut runs = LossRuns::default();
        let last = u8::try_from(2 * RUNS_PIECE + 1).unwrap();
        runs.take(&piece(last, &[0, 7]));
        runs.take(&piece(1, &[3, 0, 2]));
        assert_eq!(runs.pairs().collect::<Vec<_>>(), [(1, 3), (3, 2), (last + 1, 7)]);
        assert_eq!(serde_json::to_string(&runs).unwrap(), "[[1,3],[3,2],[88,7]]");
        runs.take(&piece(last, &[]));
        runs.take(&piece(1, &[4]));
        assert_eq!(runs.pairs().collect::<Vec<_>>(), [(1, 4)]);
    }
}
