import type { Verb } from "./pool.ts";

/** As long as changes are kept. No index serves this: it is asked when a server subscribes or a proxy takes over, and there are minutes of changes. */
export const LOST_LATELY: Verb = {
  name: "lost-lately",
  text: `
select c.aor
from codomain.changes c
where c.kind = 'binding' and c.previous = $1 and c.server is distinct from $1
group by c.aor
order by max(c.id) desc
limit $2`,
};
