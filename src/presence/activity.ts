import { basicOf, DATA_MODEL_NAMESPACE, RPID_NAMESPACE, tuplesOf } from "./pidf.ts";
import { attributeNamed, childrenOf, isElement, textOf, type XmlElement } from "./xml.ts";

/**
 * How active somebody is, by one document: the greater, the more likely he reads what is sent to him there now. 0: not at
 * all. Counted is what he or his devices say of the present (RFC 3863 basic status, RFC 4480 activities and user-input);
 * timestamps are not, for clocks of different devices order nothing.
 */
export function activityOf(presence: XmlElement): number {
  const open = tuplesOf(presence).filter((tuple) => basicOf(tuple) === "open");
  if (open.length === 0) return 0;
  const persons = childrenOf(presence, DATA_MODEL_NAMESPACE, "person");
  const devices = childrenOf(presence, DATA_MODEL_NAMESPACE, "device");
  const inputs = [...open, ...persons, ...devices].flatMap((each) => childrenOf(each, RPID_NAMESPACE, "user-input"));
  const activities = [...open, ...persons].flatMap((each) => activitiesOf(each));
  // One device in use counts for more than any number that lie idle.
  const input = inputs.some((each) => textOf(each) === "active") ? 2 : inputs.length > 0 ? 0 : 1;
  const away = activities.some((each) => AWAY.has(each)) ? 0 : activities.some((each) => BUSY.has(each)) ? 1 : 2;
  const priority = Math.max(...open.map(priorityOf));
  return 1 + away * 4 + input * 10 + priority;
}

/** RFC 4480 3.2: he is not where he could read. */
const AWAY: ReadonlySet<string> = new Set(["away", "permanent-absence", "sleeping", "vacation", "worship"]);
const BUSY: ReadonlySet<string> = new Set([
  "busy",
  "on-the-phone",
  "meeting",
  "performance",
  "presentation",
  "driving",
  "steering",
]);

function activitiesOf(of: XmlElement): readonly string[] {
  return childrenOf(of, RPID_NAMESPACE, "activities").flatMap((each) =>
    each.children.filter(isElement).map(({ local }) => local),
  );
}

/** RFC 3863 4.1.5: of the contact, from 0 to 1; without one, the lowest. */
function priorityOf(tuple: XmlElement): number {
  const contacts = childrenOf(tuple, tuple.uri, "contact");
  const values = contacts.map((each) => Number(attributeNamed(each, "priority") ?? "0"));
  return Math.max(0, ...values.filter((each) => each >= 0 && each <= 1));
}
