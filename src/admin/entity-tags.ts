import type { EntityTags } from "../xcap/answer.ts";
import { Problem } from "./problem.ts";

const MOST = 64;

/** If-Match or If-None-Match (RFC 9110 13.1); null: absent. Throws a Problem for what is neither. */
export function entityTags(header: string | undefined, name: string): EntityTags | null {
  if (header === undefined) return null;
  const text = header.trim();
  if (text === "*") return "*";
  const tags = [...text.matchAll(/(W\/)?"([^"]*)"/g)].map(([, weak, tag]) => ({ tag: tag!, weak: weak !== undefined }));
  if (
    tags.length === 0 ||
    tags.length > MOST ||
    text.replaceAll(/(?:W\/)?"[^"]*"/g, "").replaceAll(/[\s,]/g, "") !== ""
  ) {
    throw new Problem(400, "bad-entity-tag", `${name} is * or a list of entity tags in quotes.`, { field: name });
  }
  return tags;
}
