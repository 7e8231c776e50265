/** A filter that writes down all it sees, and refuses the recipient `refused@test.example`; and sessions to show it. */
import { assert } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { createHash } from "node:crypto"
import { realTime } from "../../../testbed/realTime.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"

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

/** A small message, and how its end is noted. */
export const small = SmtpClient.crlf("Subject: hi\n\nbody\n")
export const ended = (to: string): string => `body 6 ${sha256("body\r\n")} to ${to}, queue id known`

/** Two small messages, and between them one that RSET gives up; the second has a recipient that is refused. */
export const twoMessages = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient) {
  yield* client.command("EHLO client.example.org")
  yield* client.sendMail({ from: "one@example.org", to: "bob@test.example", message: small })
  yield* client.command("MAIL FROM:<two@example.org>")
  yield* client.command("RCPT TO:<carol@test.example>")
  yield* client.command("RSET")
  yield* client.sendMail({
    from: "three@example.org",
    to: ["dave@test.example", "refused@test.example"],
    message: small
  })
})

/** Two messages without content, all in one packet. */
export const pipelined = Effect.fnUntraced(function*(client: SmtpClient.SmtpClient) {
  yield* client.command("EHLO client.example.org")
  const replies = yield* client.pipeline([
    "MAIL FROM:<a@example.org>",
    "RCPT TO:<bob@test.example>",
    "RCPT TO:<refused@test.example>",
    "RSET",
    "MAIL FROM:<b@example.org>",
    "QUIT"
  ])
  assert.deepStrictEqual(replies.map(({ code }) => code), [250, 250, 550, 250, 250, 221])
})
