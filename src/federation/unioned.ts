import { reject } from "./construct.ts";
import type { Plan } from "./plan.ts";

const NOT_YET = Object.freeze([
  "the user's model is unioned: he is on several servers at once",
  "composing several servers is not part of this version",
]);

/** A user of several servers: to send his requests to one of them would be wrong, so they are refused and say why. */
export function decideUnioned(): Plan {
  return reject(480, NOT_YET, { warning: "Users of the unioned model are not routed by this version" });
}
