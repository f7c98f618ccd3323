-- A tool's own name, without the prefix that an MCP client puts before it (mcp__server__tool).
create or replace macro tool_base(tool_name) as regexp_replace(lower(tool_name), '^mcp__.+?__', '');
