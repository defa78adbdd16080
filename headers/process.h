/* Tasks: names, states, flags. */
#define TASK_COMM_LEN 16
