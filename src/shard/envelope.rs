//! The line that a few points lie on or above, when all that is known of them is that nothing is
//! below it: what the fastest packets tell of a clock.
//!
//! The textbook answer is the edge of the points' lower convex hull at the middle of their time,
//! of all lines under them the one nearest to them (S. B. Moon, P. Skelly and D. Towsley, INFOCOM
//! 1999; L. Zhang, Z. Liu and C. H. Xia, INFOCOM 2002). It is the likeliest line, and two points
//! alone make it. Where delays are spread so wide that fast packets are rare, other lines are
//! nearly as likely, so that the mean of all is taken here, each by its likelihood (E. J. G.
//! Pitman, Biometrika 1939: for errors of a known form, no other estimate that moves with the
//! points has a smaller mean square error).
//!
//! The fastest packet of a window is above the line by an exponentially distributed height,
//! whatever the distribution of the delays is, as long as some are near to the least. The
//! likelihood of a line of slope `s` then is an exponential of its height at the middle of the
//! points, and that of all lines of this slope under the points is `exp(k h(s))`, where `h(s)` is
//! the height of the highest and `k` the number of points by their mean height. Between the slopes
//! of two neighbouring edges of the hull `h` is a straight line, so that the mean is a sum over the
//! hull's corners.

use arrayvec::ArrayVec;

/// A point; any units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) time: f64,
    pub(crate) height: f64,
}

/// The line under some points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// Its slope.
    pub(crate) turn: f64,
    /// How much time the points span.
    pub(crate) span: f64,
    /// How far above the hull's edge they are in the mean, by half of their time.
    pub(crate) doubt: f64,
}

impl Edge {
    /// The line under points in order of time; `None` unless there are three, [`SPOTS_MAX`] at most
    /// and none at the time of another.
    pub(crate) fn under(spots: &[Spot]) -> Option<Self> {
        let [first, .., last] = spots else { return None };
        let (span, middle) = (last.time - first.time, f64::midpoint(first.time, last.time));
        let is_in_order = spots.windows(2).all(|pair| pair[0].time < pair[1].time);
        if !is_in_order || !(3..=SPOTS_MAX).contains(&spots.len()) {
            return None;
        }
        let spots: ArrayVec<Spot, SPOTS_MAX> =
            spots.iter().map(|spot| Spot { time: spot.time - middle, ..*spot }).collect();
        let corners = hull(&spots);
        let over = corners.windows(2).find(|pair| pair[1].time >= 0.0)?;
        let slope = slope(over[0], over[1]);
        let at_middle = over[0].height - slope * over[0].time;
        let above: f64 = spots.iter().map(|spot| spot.height - at_middle - slope * spot.time).sum();
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let count = spots.len() as f64;
        let mean = above / count;
        // Two of them are on it because it was laid there. Heights are rounded to units.
        let steepness = (count - 2.0) / mean.max(ROUNDING);
        let turn = mean_slope(&corners, at_middle, steepness);
        Some(Self { turn, span, doubt: mean / (span / 2.0) })
    }
}

/// The corners of the lower convex hull.
fn hull(spots: &[Spot]) -> ArrayVec<Spot, SPOTS_MAX> {
    let mut corners: ArrayVec<Spot, SPOTS_MAX> = ArrayVec::new();
    for &spot in spots {
        while let [.., a, b] = corners[..]
            && slope(a, b) >= slope(a, spot)
        {
            corners.pop();
        }
        corners.push(spot);
    }
    corners
}

/// The mean slope of the lines under the corners, by likelihood; `highest` is the height at 0 of
/// the highest.
fn mean_slope(corners: &[Spot], highest: f64, steepness: f64) -> f64 {
    let (mut weights, mut moments) = (0.0, 0.0);
    let mut from = None;
    for (index, corner) in corners.iter().enumerate() {
        let to = corners.get(index + 1).map(|&next| slope(*corner, next));
        // Lines through this corner: from the slope of the edge before it to that of the next.
        let rate = -steepness * corner.time;
        let weight = |slope: Option<f64>| {
            let height = |slope: f64| steepness * (corner.height - highest) + rate * slope;
            slope.map_or(0.0, |slope| height(slope).exp())
        };
        let (low, high) = (weight(from), weight(to));
        match from.zip(to) {
            // As good as constant: the trapezoid.
            Some((a, b)) if (rate * (b - a)).abs() < FLAT => {
                weights += (b - a) * (low + high) / 2.0;
                moments += (b - a) * (low * a + high * b) / 2.0;
            }
            _ => {
                let moment = |slope: Option<f64>, weight: f64| {
                    slope.map_or(0.0, |slope| weight * (slope - 1.0 / rate))
                };
                weights += (high - low) / rate;
                moments += (moment(to, high) - moment(from, low)) / rate;
            }
        }
        from = to;
    }
    moments / weights
}

fn slope(a: Spot, b: Spot) -> f64 {
    (b.height - a.height) / (b.time - a.time)
}

/// Points that there is room for.
pub(crate) const SPOTS_MAX: usize = 8;

/// Half a unit of height: what rounding alone may make.
const ROUNDING: f64 = 0.5;

/// An exponent that differs by less is one number.
const FLAT: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(heights: &[f64]) -> Edge {
        let times = (0_u8..).map(|index| f64::from(index) * 100.0 - 700.0);
        let spots: Vec<_> =
            times.zip(heights).map(|(time, &height)| Spot { time, height }).collect();
        Edge::under(&spots).unwrap()
    }

    /// The mean over a fine grid of slopes, by the definition.
    fn by_grid(heights: &[f64], steepness: f64) -> f64 {
        let middle = f64::from(u8::try_from(heights.len() - 1).unwrap()) * 50.0;
        let height = |slope: f64| {
            let times = (0_u8..).map(|index| f64::from(index) * 100.0 - middle);
            times.zip(heights).map(|(time, h)| h - slope * time).fold(f64::INFINITY, f64::min)
        };
        let slopes = (-400_000..400_000).map(|step| f64::from(step) * 1e-4);
        let highest = slopes.clone().map(height).fold(f64::NEG_INFINITY, f64::max);
        let (mut weights, mut moments) = (0.0, 0.0);
        for slope in slopes {
            let weight = (steepness * (height(slope) - highest)).exp();
            (weights, moments) = (weights + weight, moments + weight * slope);
        }
        moments / weights
    }

    #[test]
    fn points_on_a_line_give_its_slope() {
        let heights: Vec<_> = (0_u8..8).map(|index| 1000.0 + 30.0 * f64::from(index)).collect();
        let edge = edge(&heights);
        assert!((edge.turn - 0.3).abs() < 1e-3, "{edge:?}");
        assert!(edge.doubt < 1e-9 && (edge.span - 700.0).abs() < 1e-9, "{edge:?}");
    }

    #[test]
    fn the_mean_is_that_of_its_definition() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let count = rng.usize(3..=8);
            let heights: Vec<_> = (0..count).map(|_| -40.0 * (1.0 - rng.f64()).ln()).collect();
            let edge = edge(&heights);
            let middle = f64::from(u8::try_from(count - 1).unwrap()) * 50.0;
            let mean = edge.doubt * middle;
            let count = f64::from(u8::try_from(count).unwrap());
            let truth = by_grid(&heights, (count - 2.0) / mean.max(ROUNDING));
            assert!((edge.turn - truth).abs() < 1e-3, "{heights:?}: {}, not {truth}", edge.turn);
        }
    }

    #[test]
    fn what_is_not_in_order_gives_no_line() {
        let spot = |time| Spot { time, height: 1.0 };
        assert!(Edge::under(&[spot(1.0), spot(1.0), spot(2.0)]).is_none());
        assert!(Edge::under(&[spot(1.0), spot(2.0)]).is_none());
    }
}
