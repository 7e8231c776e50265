/** A recorded connection, played to a filter. */
import type * as Effect from "effect/Effect"
import type { Client } from "../internal/mta/client.ts"
import * as internal from "../internal/testing/replay.ts"
import type * as MilterClient from "../MilterClient.ts"
import type { Exchange } from "../MilterTest.ts"
import type { Connection } from "../Recording.ts"

export const play = (
  client: MilterClient.Client,
  connection: Connection
): Effect.Effect<ReadonlyArray<Exchange>, MilterClient.ClientError> => internal.replay(client as Client, connection) // the only one that there is
