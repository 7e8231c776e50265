/** A list whose items are inserted, found by number and removed in logarithmic time, wherever they are. */

/** Where an item is. It stays valid while other items come and go. */
export class Place<Item> {
  item: Item
  /** The number of items of this subtree: the left branch, this item, the right branch. */
  size = 1
  /** Random, so that a peer that chooses positions cannot make the tree deep; not lower than those of both branches. */
  readonly priority = Math.floor(Math.random() * 0x40000000)
  parent: Place<Item> | undefined
  left: Place<Item> | undefined
  right: Place<Item> | undefined

  constructor(item: Item) {
    this.item = item
  }

  /** The number of items before this one. */
  get index(): number {
    return indexOf(this)
  }
}

const indexOf = <Item>(of: Place<Item>): number => {
  let index = sizeOf(of.left)
  for (let place = of; place.parent !== undefined; place = place.parent) {
    if (place === place.parent.right) index += sizeOf(place.parent.left) + 1
  }
  return index
}

export const itemOf = <Item>({ item }: Place<Item>): Item => item

const sizeOf = (place: Place<unknown> | undefined): number => place?.size ?? 0

/**
 * A treap. An array would move all items after the edited one, for each edit: with a header of 30,000 fields and as many
 * edits, which a sender and a filter can choose, that blocks the event loop for half a minute.
 */
export class OrderedList<Item> {
  private root: Place<Item> | undefined

  get size(): number {
    return sizeOf(this.root)
  }

  /** The item with that number, from 0. */
  at(index: number): Place<Item> | undefined {
    let place = this.root
    let rest = index
    while (place !== undefined) {
      const before = sizeOf(place.left)
      if (rest === before) return place
      if (rest < before) place = place.left
      else {
        rest -= before + 1
        place = place.right
      }
    }
    return undefined
  }

  push(item: Item): Place<Item> {
    return this.insertAfter(() => true, item)
  }

  /** Inserts an item before the one with that number, or at the end of a shorter list. */
  insert(index: number, item: Item): Place<Item> {
    let rest = index
    return this.insertAfter(({ left }) => {
      const before = sizeOf(left)
      if (rest <= before) return false
      rest -= before + 1
      return true
    }, item)
  }

  /** Inserts an item after those for which `isBefore` is true, which must be the first of the list. */
  insertAfter(isBefore: (place: Place<Item>) => boolean, item: Item): Place<Item> {
    const added = new Place(item)
    let isRight = false
    for (let place = this.root; place !== undefined; place = isRight ? place.right : place.left) {
      place.size++
      added.parent = place
      isRight = isBefore(place)
    }
    if (added.parent === undefined) this.root = added
    else if (isRight) added.parent.right = added
    else added.parent.left = added
    while (added.parent !== undefined && added.parent.priority < added.priority) this.lift(added, added.parent)
    return added
  }

  remove(place: Place<Item>): void {
    // Down to a place where it has no branches.
    for (;;) {
      const { left, right } = place
      const higher = left === undefined || (right !== undefined && right.priority > left.priority) ? right : left
      if (higher === undefined) break
      this.lift(higher, place)
    }
    this.replaceBranch(place.parent, place, undefined)
    for (let above = place.parent; above !== undefined; above = above.parent) above.size--
    place.parent = undefined
  }

  /** In order. */
  *[Symbol.iterator](): Generator<Place<Item>> {
    let place = this.root
    while (place?.left !== undefined) place = place.left
    while (place !== undefined) {
      yield place
      if (place.right !== undefined) {
        place = place.right
        while (place.left !== undefined) place = place.left
      } else {
        while (place.parent !== undefined && place === place.parent.right) place = place.parent
        place = place.parent
      }
    }
  }

  /** Rotates a branch and its parent, without a change of the order. */
  private lift(place: Place<Item>, parent: Place<Item>): void {
    const inner = place === parent.left ? place.right : place.left
    this.replaceBranch(parent.parent, parent, place)
    if (place === parent.left) {
      parent.left = inner
      place.right = parent
    } else {
      parent.right = inner
      place.left = parent
    }
    if (inner !== undefined) inner.parent = parent
    place.parent = parent.parent
    parent.parent = place
    place.size = parent.size
    parent.size = sizeOf(parent.left) + 1 + sizeOf(parent.right)
  }

  private replaceBranch(parent: Place<Item> | undefined, before: Place<Item>, after: Place<Item> | undefined): void {
    if (parent === undefined) this.root = after
    else if (parent.left === before) parent.left = after
    else parent.right = after
  }
}

/** Adds a place of one list to another list, whose places are in the order of the first list. */
export const insertInOrder = <Item>(places: OrderedList<Place<Item>>, place: Place<Item>): void => {
  const { index } = place
  places.insertAfter(({ item }) => item.index < index, place)
}
