-- Ids (macro link_key) that a provider gives to call after call, as some local servers and most mocks do: they name no call.
create table if not exists reused_key (link_key ubigint not null);
