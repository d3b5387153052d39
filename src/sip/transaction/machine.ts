/** What an event does to a machine: where it goes and what its driver has to do, in this order. */
export interface Transition<S extends string, A extends string> {
  readonly state: S;
  readonly actions: readonly A[];
}

/** A transition as a frozen constant: the machines hand these out, so that a step allocates nothing. */
export function to<const S extends string, const A extends string>(state: S, ...actions: A[]): Transition<S, A> {
  return Object.freeze({ state, actions: Object.freeze(actions) });
}
