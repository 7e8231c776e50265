/** Connects to a filter, and shows what its modifications make of a message. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Delivered } from "../../Delivery.ts"
import { type Agreement, Step } from "../../Negotiation.ts"
import { checkKeys, keysOf } from "../bytes/knownKeys.ts"
import type { DeliveryError } from "../delivery/deliveryError.ts"
import type { Dialing } from "../net/dialer.ts"
import type { ModificationPacket } from "../wire/filterPackets.ts"
import { ChainSession } from "./chain/chainSession.ts"
import { Client, type ClientManners } from "./client.ts"
import type { ClientError } from "./clientError.ts"
import type { Message, Mta, Options } from "./clientTypes.ts"
import { connectTo } from "./connectTo.ts"
import { type Manners, mannersOf, type MtaTimeouts, plain } from "./manners/mtaManners.ts"
import { postfix37 } from "./manners/postfixManners.ts"
import { asReceived, recipientsOf } from "./messageInput.ts"
import { limitsOf } from "./modificationList.ts"

/** For a client that imitates no MTA: steps send what they are told to send, messages are sent as by Postfix. */
const unimitating: ClientManners = { steps: plain(postfix37), messages: postfix37 }

const mannersFor = (mta: Mta | undefined): ClientManners => {
  if (mta === undefined) return unimitating
  const manners = mannersOf(mta)
  return { steps: manners, messages: manners }
}

const timeoutsOf = ({ timeouts }: Manners, given: Options["timeouts"]): MtaTimeouts => {
  const milliseconds = (input: Duration.Input | undefined, otherwise: number): number =>
    input === undefined ? otherwise : Duration.toMillis(input)
  return {
    connect: milliseconds(given?.connect, timeouts.connect),
    command: milliseconds(given?.command, timeouts.command),
    content: milliseconds(given?.content, timeouts.content),
    total: milliseconds(given?.total, timeouts.total)
  }
}

const timeoutNames = keysOf<NonNullable<Options["timeouts"]>>({
  connect: true,
  command: true,
  content: true,
  total: true
})

const optionNames = keysOf<Options>({
  as: true,
  timeouts: true,
  maxFrameLength: true,
  maxModifications: true,
  maxModificationBytes: true,
  observe: true
})

/** Throws an `InvalidValue` for an option that would be ignored. */
export const checkOptions = (options: Options): void => {
  checkKeys("option of a client", options, optionNames)
  checkKeys("timeout of a client", options.timeouts ?? {}, timeoutNames)
}

/** Sends a message through a chain of one filter. The filter has no policy, so its failures reach the caller. */
const sendMessage = (client: Client, message: Message) =>
  Effect.gen(function*() {
    const { manners } = client
    if (client.agreed === undefined) yield* client.negotiate(manners.offer)
    const link = { address: client.address, client, policy: undefined, failure: undefined }
    return yield* new ChainSession([link], manners).sendMessage(message)
  })

export const dial = (
  dialing: Dialing,
  address: string,
  options: Options = {}
): Effect.Effect<Client, ClientError, Scope.Scope> =>
  Effect.gen(function*() {
    const manners = mannersFor(options.as)
    const timeouts = timeoutsOf(manners.steps, options.timeouts)
    const connection = yield* connectTo(dialing, address, timeouts.connect, options)
    return new Client(connection, manners, timeouts, limitsOf(options), sendMessage)
  })

export const applyTo = (
  message: Message,
  modifications: ReadonlyArray<ModificationPacket>,
  manners: Manners,
  agreed: Agreement | undefined
): Result.Result<Delivered, DeliveryError> => {
  const recipients = recipientsOf(message.to).filter(({ refused }) => refused === undefined)
  const file = manners.queue(asReceived(message.from, recipients, message))
  const error = file.apply(modifications, ((agreed?.steps ?? 0) & Step.leadingSpace) !== 0)
  return error === undefined ? Result.succeed(file.delivered()) : Result.fail(error)
}
