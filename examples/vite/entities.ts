// As `antiphon types` writes it, cut to what is used here.
export interface Entities {
  page: { id: string; title: string | null; archived: boolean | null };
}
