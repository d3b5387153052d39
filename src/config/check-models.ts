import type { Checks } from "./checks.ts";
import type { Draft } from "./draft.ts";
import { printPath } from "./faults.ts";
import { covers, fits } from "./pattern.ts";

/** A tree has one root, one parent for each other server, and no cycle. */
export function checkTrees(draft: Draft, checks: Checks): void {
  for (const { path, value } of draft.trees.values()) {
    checks.known([...path, "root"], value.root, "server", draft.serverNames);
    const parents = new Map<string, string>();
    for (const [parent, children] of Object.entries(value.children)) {
      checks.known([...path, "children", parent], parent, "server", draft.serverNames);
      children.forEach((child, i) => {
        const at = [...path, "children", parent, i];
        checks.known(at, child, "server", draft.serverNames);
        const other = parents.get(child);
        if (child === value.root)
          checks.error(
            at,
            `"${child}" is the root and below "${parent}": the tree has a cycle.`,
            "Remove it here, or name another root.",
          );
        else if (child === parent) checks.error(at, `"${child}" is its own child.`, "Remove it.");
        else if (other !== undefined)
          checks.error(
            at,
            `"${child}" is below "${other}" already.`,
            "A server has one parent in a tree: keep one of the two.",
          );
        else parents.set(child, parent);
      });
    }
    for (const parent of Object.keys(value.children)) {
      const seen = new Set<string>();
      let top: string | undefined = parent;
      while (top !== undefined && top !== value.root && !seen.has(top)) {
        seen.add(top);
        top = parents.get(top);
      }
      if (top === value.root) continue;
      const at = [...path, "children", parent];
      if (top === undefined)
        checks.error(
          at,
          `"${parent}" is not reached from the root "${value.root}".`,
          "Put it below a server of the tree.",
          "key",
        );
      else
        checks.error(
          at,
          `"${parent}" is on or below a cycle (${[...seen].join(" > ")}).`,
          "Take one of them out of its children.",
          "key",
        );
    }
  }
}

/** Patterns that can match, and models that are whole. */
export function checkModels(draft: Draft, domains: readonly string[], checks: Checks): void {
  draft.models.forEach(({ path, value }, i) => {
    const at = [...path, "match"];
    const host = value.match.slice(value.match.lastIndexOf("@") + 1);
    if (!domains.some((domain) => fits(host, domain))) {
      checks.error(
        at,
        `"${value.match}" matches nobody: no such domain is served here.`,
        `The domains are: ${domains.join(", ")}.`,
      );
    }
    const earlier = draft.models.slice(0, i).find((each) => covers(each.value.match, value.match));
    if (earlier !== undefined) {
      checks.warn(
        at,
        `This never matches: "${earlier.value.match}" of ${printPath(earlier.path)} takes all of it first.`,
        "Move it up, or remove it.",
      );
    }
    if (value.model === "exclusive" && value["refuse-with"] === 302 && value.conflict !== "refuse") {
      checks.error(
        [...path, "refuse-with"],
        "Nothing is refused where the conflict is a takeover.",
        'Write "conflict: refuse", or remove this.',
        "key",
      );
    }
    if (value.model !== "unioned") return;
    if (value.style === "hierarchical") {
      if (value.tree === undefined)
        checks.error(
          [...path, "tree"],
          "The hierarchical style needs a tree.",
          draft.treeNames.length > 0
            ? `Add "tree": ${draft.treeNames.join(", ")}.`
            : 'Add "tree: NAME", and the tree under "trees".',
        );
      else checks.known([...path, "tree"], value.tree, "tree", draft.treeNames);
      if (value.servers !== undefined)
        checks.error(
          [...path, "servers"],
          'The hierarchical style takes its servers from "tree".',
          "Remove this.",
          "key",
        );
    } else {
      if (value.servers === undefined)
        checks.error(
          [...path, "servers"],
          "The peer style needs its servers.",
          `Add "servers: [${draft.serverNames.slice(0, 2).join(", ")}]".`,
        );
      if (value.tree !== undefined)
        checks.error(
          [...path, "tree"],
          "The peer style has no tree.",
          'Remove this, or write "style: hierarchical".',
          "key",
        );
      value.servers?.forEach((name, n) => {
        checks.known([...path, "servers", n], name, "server", draft.serverNames);
        if (value.servers!.indexOf(name) < n)
          checks.error([...path, "servers", n], `"${name}" is given twice.`, "Keep one.");
      });
    }
  });
}
