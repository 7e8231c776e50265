/** The messages by SMTP to a real Postfix, started for this, that asks the filter. */
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Postfix from "../../testbed/postfix.ts"
import * as Smtp from "../../testbed/smtpClient.ts"
import { NotFromUs } from "./filter.ts"
import { type Mail, mails, textOf } from "./messages.ts"
import * as print from "./print.ts"

/** No Postfix here, or not for this user. */
export class NoPostfix extends Data.TaggedError("NoPostfix")<{ readonly message: string }> {}

const dialogueOf = (mail: Mail, result: Smtp.MailResult): ReadonlyArray<readonly [string, string]> => {
  const exchanges: Array<readonly [string, Smtp.Reply | undefined]> = [
    [`MAIL FROM:<${mail.from}>`, result.mail],
    ...result.rcpt.map((reply) => [`RCPT TO:<${mail.to}>`, reply] as const),
    ["DATA", result.data],
    [`(${mail.headers.length} header fields and a body)`, result.message]
  ]
  return exchanges.flatMap(([client, reply]) => reply === undefined ? [] : [[client, reply.text]])
}

const send = Effect.fnUntraced(function*(postfix: Postfix.Instance<never>, mail: Mail, index: number) {
  const smtp = yield* Smtp.connect(postfix.port)
  const result = yield* smtp.sendMail({ from: mail.from, to: mail.to, message: textOf(mail) })
  yield* smtp.quit
  yield* Console.log(print.heading(mail, index))
  yield* Console.log(print.dialogue(dialogueOf(mail, result)))
  if (!result.accepted) {
    return yield* Console.log(print.notDelivered(result.last.code >= 500 ? "Rejected" : "TempFailed"))
  }
  const message = yield* postfix.takeOne({ queueId: result.queueId })
  yield* Console.log(print.delivered(mail, message.recipients, message.raw))
}, Effect.scoped)

const sendAll = Effect.gen(function*() {
  const missing = Postfix.missingPrerequisite()
  if (missing !== undefined) return yield* new NoPostfix({ message: missing })
  const { addresses } = yield* MilterServer.Listener
  const [, port, host] = /^inet:(\d+)@(.*)$/.exec(addresses[0]!)!
  const milters = `inet:${host}:${port}`
  yield* Console.log(
    `The filter of examples/demo/filter.ts listens on ${addresses[0]}; starting a Postfix that asks it…`
  )
  const postfix = yield* Postfix.make({ milters })
  yield* Console.log(`Postfix ${postfix.version}, smtpd_milters = ${milters}`)
  yield* Effect.forEach(mails, (mail, index) => send(postfix, mail, index))
}).pipe(Effect.scoped)

export const demo = sendAll.pipe(
  Effect.provide(
    MilterServer.layer(NotFromUs).pipe(Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })))
  )
)
