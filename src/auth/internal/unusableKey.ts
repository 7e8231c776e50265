/** Refuses keys, not made by `makeKey`, whose signatures nobody could verify. */
import { KeyError } from "../Keys.ts"
import type { SigningKey } from "./keyTypes.ts"
import { nameFault } from "./privateKey.ts"

export const unusableKey = ({ domain, selector }: SigningKey): KeyError | undefined => {
  const reason = nameFault(domain.toLowerCase(), selector.toLowerCase())
  return reason === undefined ? undefined : new KeyError({ domain, selector, reason })
}
