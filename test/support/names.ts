/** All stages and all modifications by name, for tests that go through each of them. */
import type { Capability } from "effect-milter/Modification"
import type * as Verdict from "effect-milter/Verdict"

/** The stages of a message, in the order in which an MTA comes to them. */
export const order = [
  "connect",
  "helo",
  "mail",
  "rcpt",
  "data",
  "header",
  "endOfHeaders",
  "body",
  "endOfMessage"
] as const satisfies ReadonlyArray<keyof Verdict.ByStage>

/** With unknown commands, which may come at any time. */
export const stages = [...order, "unknown"] as const satisfies ReadonlyArray<keyof Verdict.ByStage>

/** For `modify`. */
export const capabilities = [
  "addHeader",
  "insertHeader",
  "changeHeader",
  "deleteHeader",
  "replaceBody",
  "addRecipient",
  "addRecipientWithParameters",
  "deleteRecipient",
  "changeSender",
  "quarantine"
] as const satisfies ReadonlyArray<Capability>
