-- When the stored rows of the traces to look at start → variable stored_time.
set variable stored_time = (select rows_between from stored_times('d_context', 'rollup.request', 'rollup.aside'));
