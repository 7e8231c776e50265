/** The bits of the negotiation. Re-exported by `Negotiation`. */
import { maxPayload } from "../wire/maxPayload.ts"

/**
 * The action bits: what a filter may do to a message (second word of the negotiation packets). Adding a header also
 * covers inserting one.
 *
 * @category constants
 * @since 0.1.0
 */
export const Action = {
  addHeader: 0x001,
  replaceBody: 0x002,
  addRecipient: 0x004,
  deleteRecipient: 0x008,
  changeHeader: 0x010,
  quarantine: 0x020,
  changeSender: 0x040,
  addRecipientWithParameters: 0x080,
  setMacroLists: 0x100
} as const

/**
 * The step bits (third word): `no*` asks the MTA not to send a command, `noReply*` promises not to answer it, three
 * change the conversation (skip, rejectedRecipients, leadingSpace), and two allow larger packets (payload256K, payload1M).
 *
 * @category constants
 * @since 0.1.0
 */
export const Step = {
  noConnect: 0x000001,
  noHelo: 0x000002,
  noMail: 0x000004,
  noRcpt: 0x000008,
  noBody: 0x000010,
  noHeaders: 0x000020,
  noEndOfHeaders: 0x000040,
  noReplyHeader: 0x000080,
  noUnknown: 0x000100,
  noData: 0x000200,
  skip: 0x000400,
  rejectedRecipients: 0x000800,
  noReplyConnect: 0x001000,
  noReplyHelo: 0x002000,
  noReplyMail: 0x004000,
  noReplyRcpt: 0x008000,
  noReplyData: 0x010000,
  noReplyUnknown: 0x020000,
  noReplyEndOfHeaders: 0x040000,
  noReplyBody: 0x080000,
  leadingSpace: 0x100000,
  payload256K: 0x10000000,
  payload1M: 0x20000000
} as const

/** The bits for larger packets, the largest first, and the payload that each allows. */
const payloads = [[Step.payload1M, 1_048_575], [Step.payload256K, 262_143]] as const

/**
 * Gives the most bytes of a payload once these steps are agreed on. Only a Sendmail that was built for it offers more than the usual
 * 65,535; its own pieces of a body stay that small, so what grows are its header fields and the pieces of a replaced body.
 *
 * @category getters
 * @since 0.1.0
 */
export const maxPayloadOf = (steps: number): number => payloads.find(([bit]) => (steps & bit) !== 0)?.[1] ?? maxPayload

/** The steps for larger packets that a side can take whose frames have at most this length; the length counts the code. */
export const payloadSteps = (frameLength: number): number =>
  payloads.reduce((steps, [bit, payload]) => payload < frameLength ? steps | bit : steps, 0)

/** These steps without larger packets than a side can take whose frames have at most this length. */
export const takeableSteps = (steps: number, frameLength: number): number =>
  steps & ~(Step.payload256K | Step.payload1M) | steps & payloadSteps(frameLength)
