//! Which nodes are near: a k-d tree (Bentley, "Multidimensional Binary Search Trees", CACM 18(9), 1975) over points
//! on the unit sphere, where neither poles nor the date line are special.

use crate::Position;

use super::NodeIndex;

/// Nodes by position.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// The middle one by the axis of its depth, with those before it to the left and those after it to the right.
    points: Vec<([f64; 3], NodeIndex)>,
}

/// The nearest so far, nearest first: square of the chord, and which.
type Found = Vec<(f64, NodeIndex)>;

impl Index {
    /// Of nodes whose positions are known.
    pub fn new(nodes: impl Iterator<Item = (NodeIndex, Position)>) -> Self {
        let mut points: Vec<_> = nodes.map(|(node, position)| (position.unit(), node)).collect();
        divide(&mut points, 0);
        Self { points }
    }

    /// The `count` nearest to a place, nearest first; of equally near ones the first in the table.
    pub fn nearest(&self, to: Position, count: usize) -> Vec<NodeIndex> {
        let mut found = Vec::with_capacity(count + 1);
        if count > 0 {
            search(&self.points, 0, &to.unit(), count, &mut found);
        }
        found.into_iter().map(|(_, node)| node).collect()
    }
}

fn divide(points: &mut [([f64; 3], NodeIndex)], axis: usize) {
    if points.len() < 2 {
        return;
    }
    let middle = points.len() / 2;
    let by_axis = |a: &([f64; 3], NodeIndex), b: &([f64; 3], NodeIndex)| {
        a.0[axis].total_cmp(&b.0[axis]).then(a.1.cmp(&b.1))
    };
    points.select_nth_unstable_by(middle, by_axis);
    let (left, right) = points.split_at_mut(middle);
    divide(left, (axis + 1) % 3);
    divide(&mut right[1..], (axis + 1) % 3);
}

fn search(
    points: &[([f64; 3], NodeIndex)],
    axis: usize,
    to: &[f64; 3],
    count: usize,
    found: &mut Found,
) {
    let middle = points.len() / 2;
    let Some((point, node)) = points.get(middle) else { return };
    let square: f64 = point.iter().zip(to).map(|(a, b)| (a - b) * (a - b)).sum();
    let at = found.partition_point(|other| *other < (square, *node));
    found.insert(at, (square, *node));
    found.truncate(count);
    let across = to[axis] - point[axis];
    let sides = [&points[..middle], &points[middle + 1..]];
    let [near, far] = if across < 0.0 { sides } else { [sides[1], sides[0]] };
    search(near, (axis + 1) % 3, to, count, found);
    if found.len() < count || found.last().is_some_and(|(most, _)| across * across <= *most) {
        search(far, (axis + 1) % 3, to, count, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_nearest_are_those_of_the_least_distances_wherever_on_earth(
            places in proptest::collection::vec((-90.0..=90.0f64, -180.0..=180.0f64), 0..60),
            to in (-90.0..=90.0f64, -180.0..=180.0f64),
            count in 0..10usize,
        ) {
            let places: Vec<_> = places.iter().map(|(a, b)| Position::new(*a, *b)).collect();
            let nodes = places.iter().enumerate().map(|(n, place)| (NodeIndex(n as u32), *place));
            let to = Position::new(to.0, to.1);
            let found = Index::new(nodes).nearest(to, count);
            let km = |place: &Position| to.distance(*place).as_f64();
            let mut all: Vec<_> = places.iter().map(km).collect();
            all.sort_by(f64::total_cmp);
            let distances: Vec<_> = found.iter().map(|node| km(&places[node.at()])).collect();
            prop_assert_eq!(found.len(), count.min(places.len()));
            for (found, exact) in distances.iter().zip(all) {
                prop_assert!((found - exact).abs() < 0.01, "{} {}", found, exact);
            }
        }
    }
}
