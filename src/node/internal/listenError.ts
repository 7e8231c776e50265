/** Errors of the system as a `ListenError`. */
import * as Effect from "effect/Effect"
import { ListenError } from "../../MilterServer.ts"

const reasons: { readonly [code: string]: ListenError["reason"] } = {
  EADDRINUSE: "AddressInUse",
  EEXIST: "AddressInUse",
  EADDRNOTAVAIL: "AddressNotAvailable",
  EAFNOSUPPORT: "AddressNotAvailable",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EROFS: "PermissionDenied",
  EINVAL: "InvalidAddress",
  ENAMETOOLONG: "InvalidAddress",
  ENOENT: "DirectoryMissing",
  ENOTDIR: "DirectoryMissing",
  ENOTFOUND: "UnknownHost",
  EAI_AGAIN: "UnknownHost",
  EAI_NONAME: "UnknownHost"
}

/** The error of a system call, for the address as the user wrote it. */
export const fromSystem = (address: string, cause: unknown): ListenError => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
  return new ListenError({ address, reason: reasons[code] ?? "Other", cause })
}

/** Makes a synchronous system call. */
export const attempt = <A>(address: string, call: () => A): Effect.Effect<A, ListenError> =>
  Effect.try({ try: call, catch: (cause) => fromSystem(address, cause) })
