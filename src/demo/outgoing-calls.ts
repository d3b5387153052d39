import type { Address } from "../runtime/runtime.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import { askingDialog, inDialog } from "./dialog.ts";
import type { Stack } from "./stack.ts";

/** A call that one of an example server's users made. */
export interface Call {
  /** Final answer to the INVITE; null: nobody answered. */
  readonly answer: SipResponse | null;
  hangUp(): Promise<SipResponse | null>;
}

/** Sends the INVITE, acknowledges a 2xx (RFC 3261 13.2.2.4), and hangs up when told to. */
export async function placeCall(stack: Stack, invite: SipRequest, to: Address): Promise<Call> {
  const answer = await stack.ask(invite, to);
  if (answer === null || answer.status >= 300) return { answer, hangUp: async () => null };
  const dialog = askingDialog(invite, answer);
  stack.sendAck(inDialog(dialog, "ACK", []));
  return { answer, hangUp: () => stack.ask(inDialog(dialog, "BYE", [])) };
}
