/** A filter that writes down all it sees, and refuses the recipient `refused@test.example`. */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { createHash } from "node:crypto"
import { realTime } from "./realTime.ts"

/** One line an event, in the order of arrival. */
export type Events = Ref.Ref<ReadonlyArray<string>>

export const sha256 = (bytes: string): string => createHash("sha256").update(bytes, "latin1").digest("hex")

export const make = (events: Events) => {
  const note = (line: string) => Ref.update(events, (lines) => [...lines, line])
  return Milter.make("watching", {
    rejectedRecipients: true,
    message: (mail) =>
      Effect.andThen(
        Effect.addFinalizer((exit) =>
          note(`end of ${mail.sender.address}: ${
            Option.match(Milter.outcome(exit), {
              onNone: () => "given up",
              onSome: ({ _tag }) => _tag
            })
          }`)
        ),
        Effect.sync(() => ({ hash: createHash("sha256"), length: 0 }))
      )
  }).on({
    rcpt: ({ recipient }, { session }) =>
      Effect.as(
        note(`rcpt ${recipient.address} queue id ${session.macros.get("i") === undefined ? "unknown" : "known"}`),
        recipient.localPart === "refused"
          ? Verdict.reject({ code: "550", enhanced: "5.1.1", text: "no such user" })
          : Verdict.continue
      )
  }, {
    connect: ({ client }, { session }) => note(`connect ${client._tag} ${session.origin}`),
    helo: ({ name }) => note(`helo ${name}`),
    mail: ({ parameters, sender }) => note(`mail ${sender.address} ${parameters.raw.join(" ")}`.trimEnd()),
    rejectedRecipient: ({ enhanced, recipient }) => note(`rejected ${recipient.address} ${enhanced}`),
    header: ({ name, raw }) => note(`header ${name}:${raw}`),
    body: ({ bytes }, { message }) =>
      Effect.sync(() => {
        message.hash.update(bytes)
        message.length += bytes.length
      }),
    endOfMessage: (_, { envelope, message, session }) =>
      note(
        `body ${message.length} ${message.hash.digest("hex")} to ${
          envelope.recipients.map(({ recipient }) => recipient.address).join(",")
        }, queue id ${session.macros.get("i") === undefined ? "unknown" : "known"}`
      )
  })
}

/** The events, once there are as many: the MTA's last commands come after its client has gone. */
export const notes = Effect.fnUntraced(function*(events: Events, count: number) {
  for (let turn = 0; turn < 200 && (yield* Ref.get(events)).length < count; turn++) {
    yield* realTime(Effect.sleep(10))
  }
  return yield* Ref.get(events)
})
