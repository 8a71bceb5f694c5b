/** Which domain each row belongs to: exact totals, and every prefix as close to the shares as whole rows can be. */

/**
 * Whole rows for shares, by largest remainder (ties: the earlier share).
 * @param shares positive numbers; only their ratios count.
 * @returns counts that add up to `rows`, each within 1 of its exact share.
 */
export function apportion(shares: readonly number[], rows: number): number[] {
  const total = shares.reduce((sum, share) => sum + share, 0);
  const exact = shares.map((share) => (share / total) * rows);
  const counts = exact.map((value) => Math.floor(value + 1e-9));
  const order = exact
    .map((value, index) => ({ index, remainder: value - (counts[index] ?? 0) }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  const missing = rows - counts.reduce((sum, count) => sum + count, 0);
  for (const { index } of order.slice(0, missing)) counts[index] = (counts[index] ?? 0) + 1;
  return counts;
}

/**
 * The order of domains, slot by slot: Tijdeman's solution of the chairman assignment problem (Discrete Mathematics 32,
 * 1980). After any number of slots i, domain d has had its exact share `counts[d] · i / Σcounts` to within less than one row,
 * so totals are exact and a step of rows is off by at most one. Plain largest-remainder order does not keep that bound.
 * @param counts rows per domain; zero is allowed.
 * @returns the index of a domain for each of Σcounts slots.
 */
export function* slotOrder(counts: readonly number[]): Generator<number, void, undefined> {
  const rows = counts.reduce((sum, count) => sum + count, 0);
  const used = counts.map(() => 0);
  const active = counts.flatMap((count, domain) => (count > 0 ? [domain] : []));
  const slack = Math.max(2, 2 * active.length - 2);
  for (let slot = 1; slot <= rows; slot++) {
    const chosen = mostUrgent(active, counts, used, slot, rows, slack);
    used[chosen] = (used[chosen] ?? 0) + 1;
    yield chosen;
  }
}

/** Among the domains whose claim is at least 1/slack, the one that soonest must have a row. All in integers, scaled by rows · slack. */
function mostUrgent(
  active: readonly number[],
  counts: readonly number[],
  used: readonly number[],
  slot: number,
  rows: number,
  slack: number,
): number {
  let best = active[0] ?? 0;
  let bestDeadline = Infinity;
  for (const domain of active) {
    const count = counts[domain] ?? 0;
    const claim = slack * (count * slot - rows * (used[domain] ?? 0));
    if (claim < rows) continue;
    const deadline = (rows * (slack - 1) - claim) / count;
    if (deadline < bestDeadline) [best, bestDeadline] = [domain, deadline];
  }
  return best;
}
