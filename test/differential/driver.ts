/** Says the same to both filters, one command after the other, and compares what they answer. */
import { Step } from "effect-milter/Negotiation"
import * as Packet from "effect-milter/Packet"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Random } from "../support/random.ts"
import { concat } from "../support/wire.ts"
import { type Difference, differences } from "./differences.ts"
import { type Answer, format, type Peer, same } from "./peer.ts"
import { Transitions } from "./transitions.ts"

/** The filters disagree, or one of them is silent. The message has the whole conversation. */
export class Disagreement extends Data.TaggedError("Disagreement")<{
  readonly message: string
  /** All that the MTA has said. */
  readonly said: ReadonlyArray<Packet.MtaPacket>
  readonly silent: boolean
}> {}

const noReply: { readonly [command: string]: number } = {
  C: Step.noReplyConnect,
  H: Step.noReplyHelo,
  M: Step.noReplyMail,
  R: Step.noReplyRcpt,
  T: Step.noReplyData,
  L: Step.noReplyHeader,
  N: Step.noReplyEndOfHeaders,
  B: Step.noReplyBody,
  U: Step.noReplyUnknown,
  E: 0,
  O: 0
}

const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** Cuts bytes as networks and MTAs do: mostly not, sometimes anywhere. */
const pieces = (bytes: Uint8Array, random: Random): ReadonlyArray<Uint8Array> => {
  const largest = random.chance(0.7)
    ? bytes.length
    : Math.ceil(bytes.length / 20) + random.pick([0, 3, 20, 1000])
  const cut: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length;) {
    const length = largest === bytes.length ? largest : random.between(1, largest)
    cut.push(bytes.subarray(at, at + length))
    at += length
  }
  return cut
}

/** One connection to each of the filters. */
export class Driver {
  /** Which deliberate differences have shown. */
  readonly shown = new Set<Difference>()
  /** What both have answered alike: letters of command and verdict, `Mr`, and of changes, `h`. */
  readonly agreed = new Set<string>()
  private readonly transitions: Transitions
  private readonly theirs: Peer
  private readonly ours: Peer
  private readonly random: Random
  private readonly title: string
  private readonly conversation: Array<string> = []
  private readonly said: Array<Packet.MtaPacket> = []
  private pending: Array<Uint8Array> = []
  private steps = 0

  /** `title` is for failures: what this conversation is, such as its seed. `steps` are those that the filter wants. */
  constructor(options: {
    readonly title: string
    readonly theirs: Peer
    readonly ours: Peer
    readonly random: Random
    readonly steps: number
  }) {
    this.title = options.title
    this.theirs = options.theirs
    this.ours = options.ours
    this.random = options.random
    this.transitions = new Transitions(options.steps)
  }

  /** A command without an answer. It goes out together with the next one that has. */
  tell(packet: Packet.MtaPacket): void {
    this.says(packet)
    const bytes = Packet.encode(packet).slice()
    const letter = String.fromCharCode(bytes[4]!)
    if (letter !== "D" && letter !== "Q") this.transitions.takes(letter)
    this.pending.push(bytes)
  }

  /**
   * A command with an answer, if its stage is answered; gives the code of the verdict, or nothing if the connection was
   * closed. `known` are the differences that may show here.
   */
  ask(packet: Packet.MtaPacket, ...known: ReadonlyArray<Difference | undefined>): Effect.Effect<string, Disagreement> {
    return Effect.suspend(() => {
      this.says(packet)
      const bytes = Packet.encode(packet).slice()
      const letter = String.fromCharCode(bytes[4]!)
      const taken = this.transitions.takes(letter)
      this.pending.push(bytes)
      if (this.has(noReply[letter]!)) return Effect.succeed("c")
      const nothing: Effect.Effect<Answer | undefined> = Effect.undefined
      return Effect.flatMap(
        Effect.andThen(
          this.flush,
          Effect.all([taken ? this.theirs.answer : nothing, this.ours.answer])
        ),
        ([theirs, ours]) => this.compare(letter, theirs, ours, known)
      )
    })
  }

  /** The MTA closes, with or without a word. */
  end(how: "quit" | "close"): Effect.Effect<void, Disagreement> {
    return Effect.suspend(() => {
      if (how === "quit") this.tell({ _tag: "Quit" })
      else this.log("MTA", "closes")
      return Effect.flatMap(
        Effect.andThen(
          this.flush,
          Effect.suspend(() => {
            if (how === "close") {
              this.theirs.end()
              this.ours.end()
            }
            return Effect.all([this.theirs.rest, this.ours.rest])
          })
        ),
        ([theirs, ours]) => {
          if (theirs.how === "closed" && ours.how === "closed" && theirs.frames.length + ours.frames.length === 0) {
            return Effect.void
          }
          this.log("libmilter", format(theirs))
          this.log("effect-milter", format(ours))
          const silent = theirs.how === "silence" || ours.how === "silence"
          return this.fail("expected both to close, and no stray answers", silent)
        }
      )
    })
  }

  private fail(reason: string, silent: boolean): Effect.Effect<never, Disagreement> {
    const message = [`${this.title}: ${reason}`, ...this.conversation].join("\n  ")
    return new Disagreement({ message, said: this.said, silent })
  }

  private readonly flush: Effect.Effect<void> = Effect.suspend(() => {
    const bytes = concat(this.pending)
    this.pending = []
    return Effect.forEach(pieces(bytes, this.random), (piece, index) =>
      Effect.andThen(
        index === 0 ? Effect.void : nextTurn,
        Effect.sync(() => {
          this.theirs.write(piece)
          this.ours.write(piece)
        })
      ), { discard: true })
  })

  private compare(
    letter: string,
    theirs: Answer | undefined,
    ours: Answer,
    known: ReadonlyArray<Difference | undefined>
  ): Effect.Effect<string, Disagreement> {
    const agree = theirs !== undefined && theirs.how !== "silence" && same(theirs, ours)
    if (agree) {
      this.log("both", format(theirs))
      for (const frame of theirs.frames.slice(0, -1)) this.agreed.add(String.fromCharCode(frame[4]!))
    } else {
      this.log("libmilter", format(theirs))
      this.log("effect-milter", format(ours))
      const possible = known.filter((name) => name !== undefined)
      const difference = possible.find((name) => differences[name](theirs, ours))
      if (difference === undefined) {
        return this.fail(
          possible.length === 0
            ? "the answers differ, and no difference is known here"
            : `the answers differ, but not as known: ${possible.join(", ")}`,
          theirs?.how === "silence" || ours.how === "silence"
        )
      }
      this.log("known", difference)
      this.shown.add(difference)
    }
    const verdict = (theirs ?? ours).frames.at(-1)
    if (verdict === undefined) return Effect.succeed("")
    const code = String.fromCharCode(verdict[4]!)
    if (letter === "O") {
      this.steps = new DataView(verdict.buffer, verdict.byteOffset).getUint32(13)
    } else if (theirs !== undefined) this.transitions.answered(code)
    if (agree) this.agreed.add(letter + code)
    return Effect.succeed(code)
  }

  /** Whether the filter has asked for a step: known once the negotiation is answered. */
  has(step: number): boolean {
    return (this.steps & step) !== 0
  }

  private says(packet: Packet.MtaPacket): void {
    this.said.push(packet)
    this.log("MTA", Packet.format(packet))
  }

  private log(who: string, what: string): void {
    this.conversation.push(`${who.padEnd(13)} ${what}`)
  }
}
