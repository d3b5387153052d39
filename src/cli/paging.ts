import type { Command } from "commander";
import { UsageError } from "../base/errors.ts";

/** Lists that come page by page. */
export interface Paging {
  readonly after?: string;
  readonly limit: string;
  readonly all?: boolean;
}

const PAGE = 1000;

export function pagingOptions(command: Command): Command {
  return command
    .option("--after <mark>", "go on behind this one")
    .option("--limit <n>", "how many at most", "100")
    .option("--all", "all of them, page by page");
}

/** Fetches pages as far as wanted. @returns where the next one begins; null: that was all. */
export async function listing(
  { after, limit, all }: Paging,
  fetch: (page: { after: string | undefined; limit: string }) => Promise<{ count: number; next: string | null }>,
): Promise<string | null> {
  const wanted = all ? Number.POSITIVE_INFINITY : wholeNumber(limit, "--limit");
  let next: string | null = after ?? null;
  let had = 0;
  do {
    const page = await fetch({ after: next ?? undefined, limit: String(Math.min(PAGE, wanted - had)) });
    had += page.count;
    next = page.next;
  } while (next !== null && had < wanted);
  return next;
}

export function wholeNumber(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0)
    throw new UsageError(`${option} wants a whole number, not "${text}".`);
  return Number(text);
}
