import type { Verb } from "./pool.ts";

export const TELL_VERDICTS: Verb = {
  name: "tell-verdicts",
  text: "insert into codomain.changes (kind, aor) values ('verdicts', $1)",
};
