//! How much happened.

/// What happened in a run: a run in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub terms: u64,
    pub purges: u64,
    pub installs: u64,
    pub crashes: u64,
    pub writes: u64,
    pub unknown: u64,
    pub linearizable_reads: u64,
    pub bounded_reads: u64,
    pub orders: u64,
    /// Replicas destroyed, whose nodes got another.
    pub comebacks: u64,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        self.terms += other.terms;
        self.purges += other.purges;
        self.installs += other.installs;
        self.crashes += other.crashes;
        self.writes += other.writes;
        self.unknown += other.unknown;
        self.linearizable_reads += other.linearizable_reads;
        self.bounded_reads += other.bounded_reads;
        self.orders += other.orders;
        self.comebacks += other.comebacks;
    }

    /// Fails where `runs` runs did not meet what they are for.
    pub fn assert_enough(&self, runs: u64) {
        let Self { terms, purges, installs, crashes, writes, unknown, .. } = *self;
        let Self { linearizable_reads, bounded_reads, orders, comebacks, .. } = *self;
        let often = [terms, purges, crashes, writes, linearizable_reads, bounded_reads];
        assert!(often.iter().all(|count| *count >= runs), "too little happened: {self:?}");
        let seldom = [installs, unknown, orders, comebacks];
        assert!(seldom.iter().all(|count| *count >= runs / 10), "too little happened: {self:?}");
    }
}
