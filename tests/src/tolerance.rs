//! Every tolerance of the tests: name, value, reason. A change that loosens one is seen here and nowhere else.

/// Maps, features and logits against golden, assignments forced. Reordered f32 sums give up to 2e-5 (the reference on
/// `net.6` of `a_small_224`, values up to 8.4), 2e-6 in logits; counting a
/// member as 1.001 in Eq. 6 already gives 6e-4 after the first stage of `d_nano_64`.
pub const FORCED: f64 = 1e-4;

/// Logits against golden, free-running, on cases without a close decision (every margin above 2e-5). No assignment differs there,
/// so what is left is f32 rounding, which PyTorch's f32 against its f64 shows to be 7e-7; the rest is room for other sums.
pub const FREE: f64 = 2e-5;

/// A decision closer than this (best minus second cosine) may fall either way: two orders of summation in f32 differ by some
/// 1e-6 in a cosine (SPEC 12). Above it, the argmax must be golden's.
pub const MARGIN: f32 = 1e-5;

/// Mean difference per value of a whole map whose values are only sampled (`netsum.k`, divided by the map's values). Errors of
/// rounding have both signs, so that the mean lies far below `FORCED`; a wrong row or channel between the samples does not.
pub const MEAN: f64 = 1e-6;

/// Logits of f16 storage against f32, assignments forced, relative to the largest logit. Weights are rounded by at most 2^-11, their
/// errors add up like a random walk over some tens of layers.
pub const F16_STORAGE: f64 = 5e-3;

/// Sum of the contributions of all positions against the logit, relative to the contributions' sizes: the same terms in another order.
pub const EVIDENCE: f64 = 1e-5;
