/**
 * What a leg may be sent: what the watcher reads, but for documents that only tell differences (RFC 5263), which mean
 * nothing once the latest state wins and the server behind can change.
 */
export function acceptForLeg(values: readonly string[], event: string): string {
  const whole = values.filter((value) => !/^application\/pidf-diff\+xml\b/i.test(value));
  if (whole.length > 0) return whole.join(", ");
  return event === "presence" ? "application/pidf+xml" : "";
}
