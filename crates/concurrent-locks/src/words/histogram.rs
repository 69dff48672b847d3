//! A log-linear histogram of times, small enough to keep four per resource in shared memory.
//!
//! Four buckets per power of two (as HdrHistogram with two significant bits; Tene, 2012), so a
//! value read back is within 12.5 % of one that was recorded. Unit: nanoseconds.

/// Buckets per power of two, as a power of two itself.
const SUB_BITS: u32 = 2;
/// Values below `1 << FIRST_BITS` nanoseconds share the first bucket: no clock distinguishes them.
const FIRST_BITS: u32 = 6;
/// Values from `1 << LAST_BITS` nanoseconds (1.2 hours) on share the last bucket.
const LAST_BITS: u32 = 42;
/// How many buckets there are.
pub(crate) const BUCKETS: usize = (((LAST_BITS - FIRST_BITS) << SUB_BITS) + 2) as usize;

/// The bucket of a time in nanoseconds.
pub(crate) fn bucket_of(nanos: u64) -> usize {
    if nanos < 1 << FIRST_BITS {
        return 0;
    }
    let power = nanos.ilog2();
    if power >= LAST_BITS {
        return BUCKETS - 1;
    }
    let sub = (nanos >> (power - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    ((((power - FIRST_BITS) << SUB_BITS) as u64 + sub) + 1) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle_of(bucket: usize) -> u64 {
    if bucket == 0 {
        return 1 << (FIRST_BITS - 1);
    }
    if bucket >= BUCKETS - 1 {
        return 1 << LAST_BITS;
    }
    let index = bucket as u64 - 1;
    let power = u64::from(FIRST_BITS) + (index >> SUB_BITS);
    let step = 1_u64 << (power - u64::from(SUB_BITS));
    (1 << power) + (index & ((1 << SUB_BITS) - 1)) * step + step / 2
}

/// Times counted in log-linear buckets; percentiles are within 12.5 %.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    pub(crate) fn from_counts(counts: impl IntoIterator<Item = u64>) -> Histogram {
        Histogram { counts: counts.into_iter().collect() }
    }

    /// Counts one time.
    pub fn record(&mut self, time: std::time::Duration) {
        self.counts.resize(BUCKETS, 0);
        self.counts[bucket_of(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))] += 1;
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that the fraction `quantile` (0 to 1) of all times does not exceed, in nanoseconds;
    /// 0 if nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (self.count() as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_are_ordered_and_middles_lie_inside() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(middle_of(bucket)), bucket);
        }
        let mut last = 0;
        for power in 0..63 {
            for value in [1_u64 << power, (1 << power) + (1 << power) / 3] {
                assert!(bucket_of(value) >= last);
                last = bucket_of(value);
            }
        }
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.count(), 1000);
        for quantile in [0.5, 0.9, 0.99] {
            let exact = quantile * 1e6;
            let told = histogram.quantile(quantile) as f64;
            assert!((told - exact).abs() / exact <= 0.125, "{quantile}: {told} for {exact}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
