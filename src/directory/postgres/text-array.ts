/** A text[] as PostgreSQL reads it (its manual, "Arrays", input). */
export function textArray(values: readonly string[]): string {
  let text = "{";
  for (const [i, value] of values.entries()) {
    const quoted = value.includes('"') || value.includes("\\") ? value.replace(/["\\]/g, "\\$&") : value;
    text += i === 0 ? `"${quoted}"` : `,"${quoted}"`;
  }
  return `${text}}`;
}
