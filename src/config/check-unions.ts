import type { Checks } from "./checks.ts";
import type { Draft } from "./draft.ts";
import { printPath } from "./faults.ts";

type Tree = Draft["trees"] extends ReadonlyMap<string, { readonly value: infer V }> ? V : never;

/** What of the unioned models works, but perhaps not as it was meant: warnings only. */
export function checkUnions(draft: Draft, checks: Checks): void {
  checkLists(draft, checks);
  checkOnward(draft, checks);
  checkLegs(draft, checks);
  checkDown(draft, checks);
  checkUnreachable(draft, checks);
  checkRedirect(draft, checks);
}

const childrenOf = (tree: Tree, name: string): readonly string[] => tree.children[name] ?? [];

function serversOf(tree: Tree): readonly string[] {
  return [tree.root, ...Object.values(tree.children).flat()];
}

function peerLists(draft: Draft): readonly (readonly string[])[] {
  return draft.models.flatMap(({ value }) =>
    value.model === "unioned" && value.servers !== undefined ? [value.servers] : [],
  );
}

function checkLists(draft: Draft, checks: Checks): void {
  for (const { path, value } of draft.trees.values()) {
    if (Object.keys(value.children).length > 0) continue;
    checks.warn(path, "A tree of one server: there is nothing to join.", 'Add "children", or remove it.', "key");
  }
  for (const { path, value } of draft.models) {
    if (value.model !== "unioned" || value.style !== "peer" || value.servers?.length !== 1) continue;
    checks.warn(
      [...path, "servers"],
      "A list of one server: there is nothing to join.",
      "Name the user's other servers, or write model: partitioned.",
    );
  }
}

/** `onward` that nothing comes of, or that only credits tell from the server's own users. */
function checkOnward(draft: Draft, checks: Checks): void {
  const trees = [...draft.trees.values()].map(({ value }) => value);
  const lists = peerLists(draft);
  const hasDown = draft.listen.some(({ value }) => value.direction === "down");
  for (const [name, { path, value }] of draft.servers) {
    if (value.onward === "none") continue;
    const at = [...path, "onward"];
    const mine = trees.filter((tree) => serversOf(tree).includes(name));
    if (mine.length === 0 && !lists.some((list) => list.includes(name))) {
      checks.warn(
        at,
        `"${name}" is in no tree and on no list of servers: it goes onward to nobody.`,
        "Put it into a tree or a list, unless users' own records do, or remove this.",
      );
      continue;
    }
    if (value.onward === "up") continue;
    const parents = mine.filter((tree) => childrenOf(tree, name).length > 0);
    if (mine.length > 0 && parents.length === 0 && !lists.some((list) => list.includes(name))) {
      checks.warn(at, `Nothing is below "${name}" in any tree: it has no children to go onward to.`, "Remove this.");
    }
    if (!hasDown && parents.some((tree) => tree.root !== name)) {
      checks.warn(
        at,
        `"${name}" sends what goes up and what goes down to the same listeners: credits tell the one from the other, for 32 s.`,
        `Add "- { url: …, direction: down }" under "listen", and have ${name} send there what goes to its children.`,
      );
    }
  }
}

function checkLegs(draft: Draft, checks: Checks): void {
  const joined = new Set([
    ...[...draft.trees.values()].flatMap(({ value }) => serversOf(value)),
    ...peerLists(draft).flat(),
  ]);
  for (const [name, { path, value }] of draft.servers) {
    const canMove = value.repoint === true || value.repoint === "yes";
    if (canMove || !joined.has(name)) continue;
    checks.warn(
      [...path, "repoint"],
      `Users who are on several servers, "${name}" among them, are watched through dialogs with it all the same.`,
      "Where one proxy takes over from another such a dialog is set up anew; write repoint: yes if it need not be.",
    );
  }
}

function checkDown(draft: Draft, checks: Checks): void {
  if (draft.trees.size > 0 || draft.treeNames.length > 0) return;
  for (const { path, value } of draft.listen) {
    if (value.direction !== "down") continue;
    checks.warn(
      [...path, "direction"],
      "There is no tree: nothing goes down.",
      'Add one under "trees", or remove this.',
    );
  }
}

function checkUnreachable(draft: Draft, checks: Checks): void {
  if (draft.sections.subscriptions?.unreachable !== "without") return;
  if ([...draft.servers.values()].some(({ value }) => value.policy === "none")) return;
  checks.warn(
    ["subscriptions", "unreachable"],
    "Only a server of policy none may be left out while it cannot be asked, and there is none.",
    `Write "policy: none" in ${printPath(["servers"])} for those that never deny a watcher, or write wait.`,
  );
}

function checkRedirect(draft: Draft, checks: Checks): void {
  if (draft.sections.routing !== "redirect" || !draft.models.some(({ value }) => value.model === "unioned")) return;
  checks.warn(
    ["routing"],
    "A 302 names one server: requests to users on several are answered or relayed by this proxy all the same.",
    "That is as it should be where the proxy can be reached; else choose another model for them.",
  );
}
