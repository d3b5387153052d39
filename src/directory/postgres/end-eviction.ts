import type { Verb } from "./pool.ts";

/** He may have been lost once more meanwhile: then it is another loss, and that one stays. */
export const END_EVICTION: Verb = {
  name: "end-eviction",
  text: "delete from codomain.evictions where aor = $1 and server = $2 and epoch = $3",
};
