//! Contenders are loaded in turns, round by round, on the same core, so that what disturbs the
//! machine disturbs all of them alike.

use crate::load::{self, Contender, Round, Window};
use crate::report::Figures;
use anyhow::Result;
use std::time::Duration;

/// The time that each contender is loaded: the first round warms up for longer than the others.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) first_warm_up: Duration,
    pub(crate) warm_up: Duration,
}

/// The figures of each contender, in their order.
///
/// Every second round goes backwards, so that none is always the first after a pause.
pub(crate) async fn take_turns(contenders: &[Contender], plan: Plan) -> Result<Vec<Figures>> {
    let mut rounds: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
    for turn in 0..plan.rounds {
        let warm_up = if turn == 0 { plan.first_warm_up } else { plan.warm_up };
        let window = Window { warm_up, measured: plan.measured };
        let mut order: Vec<_> = contenders.iter().zip(&mut rounds).collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for (contender, rounds) in order {
            rounds.push(load::run(contender, window).await?);
        }
    }
    rounds.iter().map(|rounds| Figures::of(rounds)).collect()
}
