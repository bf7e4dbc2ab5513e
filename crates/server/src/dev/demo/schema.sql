-- The demonstration application, as any application would define it. Antiphon adds its column and index itself.
create table public.pages (
    id uuid primary key default gen_random_uuid(),
    organization_id text not null,
    title text,
    body text,
    position text collate "C",
    word_count int8,
    archived bool default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    tx jsonb
);
create table public.tasks (
    id uuid primary key,
    organization_id text not null,
    page_id uuid null references public.pages,
    title text,
    status text default 'todo',
    assignee text null,
    priority int4,
    due_on date null,
    labels text[] default '{}',
    votes int4 default 0,
    position text collate "C",
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    tx jsonb
);
create table public.attachments (
    id uuid primary key,
    organization_id text not null,
    page_id uuid null,
    name text,
    content_type text,
    size_bytes int8,
    checksum text,
    state text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    tx jsonb
);
-- Indexes of what lists filter and order by; texts by bytes, as lists order them.
create index pages_org_position on public.pages (organization_id, position, id);
create index pages_org_title on public.pages (organization_id, title collate "C", id);
create index pages_org_updated on public.pages (organization_id, updated_at, id);
create index pages_org_archived on public.pages (organization_id, archived, id);
create index tasks_page on public.tasks (page_id);
create index tasks_org_page on public.tasks (organization_id, page_id, id);
create index tasks_org_status on public.tasks (organization_id, status collate "C", id);
create index tasks_org_assignee on public.tasks (organization_id, assignee collate "C", id);
create index tasks_org_priority on public.tasks (organization_id, priority, id);
create index tasks_org_due on public.tasks (organization_id, due_on, id);
create index tasks_org_position on public.tasks (organization_id, position, id);
create index attachments_org_page on public.attachments (organization_id, page_id, id);
create index attachments_org_state on public.attachments (organization_id, state collate "C", id);
