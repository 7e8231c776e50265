/** Finds the parts that a reader sees as the text of the message: there a banner goes. */
import type { Obstacle } from "./mimeTypes.ts"
import { plainParameter } from "./partHeader.ts"
import type { Entity } from "./structure.ts"

export interface Refused {
  readonly entity: Entity
  readonly why: Obstacle
}

export interface Displayed {
  /** One text, or one for each alternative. */
  readonly targets: ReadonlyArray<Entity>
  /** Parts that are displayed too, but must not be edited. */
  readonly refused: ReadonlyArray<Refused>
}

export const isAttachment = ({ disposition, typeField }: Entity): boolean =>
  disposition?.value === "attachment" || (disposition?.parameters.some(({ name }) => name === "filename") ?? false) ||
  typeField.parameters.some(({ name }) => name === "name")

/** Why a part of this type is never edited. */
export const refusalOf = ({ type, typeField }: Entity): Obstacle | undefined => {
  switch (type) {
    case "multipart/signed":
      return "signed"
    case "multipart/encrypted":
    case "application/pgp-encrypted":
      return "encrypted"
    case "application/pkcs7-mime":
    case "application/x-pkcs7-mime":
      return plainParameter(typeField, "smime-type")?.toLowerCase() === "signed-data" ? "signed" : "encrypted"
    case "multipart/report":
      return "report"
    case "text/calendar":
      return "calendar"
    case "text/x-amp-html":
      return "amp"
    case "application/ms-tnef":
    case "application/vnd.ms-tnef":
      return "tnef"
    default:
      return type.startsWith("message/") ? "message" : undefined
  }
}

const rootOf = ({ children, typeField }: Entity): Entity | undefined => {
  const start = plainParameter(typeField, "start")
  const named = start === undefined
    ? undefined
    : children.find(({ fields }) => fields.some(({ name, value }) => name === "content-id" && value === start))
  return named ?? children[0]
}

/** True within a part that is not edited. */
export const isRefusedAbove = (entity: Entity): boolean => {
  for (let above = entity.parent; above !== undefined; above = above.parent) {
    if (refusalOf(above) !== undefined) return true
  }
  return false
}

/** The first text that is displayed, or the last one. */
export const displayedText = (root: Entity, end: "first" | "last"): Displayed => {
  const refused: Array<Refused> = []
  const find = (entity: Entity): ReadonlyArray<Entity> => {
    const why = refusalOf(entity)
    if (why !== undefined) {
      if (!isAttachment(entity) || entity === root) refused.push({ entity, why })
      return []
    }
    const { children, type } = entity
    if (type === "text/plain" || type === "text/html") return isAttachment(entity) ? [] : [entity]
    if (!type.startsWith("multipart/")) return []
    if (type === "multipart/alternative") return children.flatMap(find)
    if (type === "multipart/related") {
      const inner = rootOf(entity)
      return inner === undefined ? [] : find(inner)
    }
    for (const child of end === "first" ? children : children.toReversed()) {
      const found = find(child)
      if (found.length > 0) return found
    }
    return []
  }
  return { targets: find(root), refused }
}
