//! Everybody at the nearest edge that has room.

use gibbon_handoff::Cause;

use super::{Order, Policy, View};
use crate::{stage::State, world::Edge};

/// Another edge has to be nearer by this, in km.
const NEARER_KM: f64 = 2.0;
/// An edge filled beyond this takes nobody.
const FULL: f64 = 0.9;
/// Those that do not move are looked at in turns, once in so many.
const TURNS: u32 = 12;

/// Moves whoever has another edge nearer to it.
#[derive(Default)]
pub(crate) struct Nearest {
    turn: u32,
}

impl Policy for Nearest {
    fn act(&mut self, view: &View<'_>, orders: &mut Vec<Order>) {
        self.turn = (self.turn + 1) % TURNS;
        for (session, state) in view.sessions() {
            let has_turn = state.route.is_some() || session % TURNS == self.turn;
            if has_turn && !view.is_busy(state) {
                let to = nearer(view, state);
                orders.extend(to.map(|to| Order { session, to, cause: Cause::Location }));
            }
        }
    }
}

fn nearer(view: &View<'_>, state: &State) -> Option<[Edge; 2]> {
    let from = state.legs[0];
    let now = view.around(state).find(|(edge, _)| *edge == from)?.1;
    let open = |edge: Edge| view.seen[usize::from(edge)].up && view.load(edge) < FULL;
    let others = view.around(state).filter(|(edge, km)| *km + NEARER_KM < now && open(*edge));
    let (edge, _) = others.min_by(|a, b| a.1.total_cmp(&b.1))?;
    view.with(state, from, edge)
}
