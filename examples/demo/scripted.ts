/** The messages through the filter on a real socket, with a scripted MTA: all that happens on the wire. */
import * as Delivery from "effect-milter/Delivery"
import * as MilterClient from "effect-milter/MilterClient"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer } from "effect-milter/node"
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { NotFromUs } from "./filter.ts"
import { type Mail, mails } from "./messages.ts"
import * as print from "./print.ts"

/** Like an MTA, opens a connection for each SMTP session. */
const send = Effect.fnUntraced(function*(address: string, mail: Mail, index: number) {
  const packets: Array<Packet.MtaPacket | Packet.FilterPacket> = []
  const senders = new Map<object, "mta" | "filter">()
  const filter = yield* MilterClient.dial(address, {
    observe: (from, packet) => {
      // Verdicts without a payload are one object each time.
      const seen = { ...packet }
      senders.set(seen, from)
      packets.push(seen)
    }
  })
  const outcome = yield* filter.sendMessage(mail)
  yield* filter.quit()
  yield* Console.log(print.heading(mail, index))
  yield* Console.log(print.conversation(packets, (packet) => senders.get(packet)!))
  yield* Console.log(`\n${print.dialogue(print.dialogueOf(mail, outcome))}`)
  yield* Console.log(
    outcome.delivered !== undefined
      ? print.delivered(
        mail,
        outcome.delivered.recipients.map(({ address }) => address),
        ByteString.toText(ByteString.fromBytes(Delivery.toBytes(outcome.delivered)))
      )
      : print.notDelivered(outcome._tag === "Accepted" ? "Discarded" : outcome._tag)
  )
}, Effect.scoped)

const sendAll = Effect.gen(function*() {
  const { addresses } = yield* MilterServer.Listener
  yield* Console.log(
    `The filter of examples/demo/filter.ts listens on ${addresses[0]}; a scripted MTA asks it like Postfix.`
  )
  yield* Effect.forEach(mails, (mail, index) => send(addresses[0]!, mail, index))
})

export const demo = sendAll.pipe(
  Effect.provide(
    MilterServer.layer(NotFromUs).pipe(
      Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
      Layer.provideMerge(NodeMilterClient.layer)
    )
  )
)
