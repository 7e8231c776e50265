/** The service that gives a server its connections. Re-exported by `MilterServer`. */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type { ListenerShape } from "../net/listener.ts"

/**
 * Listens for connections of MTAs. Provided by a listening layer: `NodeMilterServer.layer`, `EffectSocket.layer` or, in
 * tests, `MilterTest`.
 *
 * @category services
 * @since 0.1.0
 */
export class Listener extends Context.Service<Listener, ListenerShape>()("effect-milter/MilterServer/Listener") {}

/**
 * The server cannot listen on the address.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly address: string
  readonly reason:
    | "AddressInUse"
    | "AddressNotAvailable"
    | "PermissionDenied"
    | "InvalidAddress"
    | "DirectoryMissing"
    | "UnknownHost"
    | "NotASocket"
    | "NotPassed"
    | "UnknownOwner"
    | "WorkersNotSupported"
    | "Other"
  readonly cause: unknown
}> {
  override get message(): string {
    const { address, cause, reason } = this
    const detail = reason === "Other" && cause instanceof Error ? `: ${cause.message}` : ""
    return `cannot listen on ${address}: ${explanations[reason]}${detail}`
  }
}

const explanations: { readonly [K in ListenError["reason"]]: string } = {
  AddressInUse: "address already in use",
  AddressNotAvailable: "this host has no such address",
  PermissionDenied: "permission denied",
  InvalidAddress: "not an address to listen on",
  DirectoryMissing: "the directory of the socket does not exist",
  UnknownHost: "there is no host of this name",
  NotASocket: "there is a file that is not a socket",
  NotPassed: "the process was not started with this socket",
  UnknownOwner: "there is no such owner or group",
  WorkersNotSupported: "only Node gives a socket to several processes",
  Other: "the system refused it"
}
