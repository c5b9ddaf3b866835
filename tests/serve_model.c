/* What a foreign server does: asks a SavedModel with TensorFlow's C library.
 *
 *   serve_model FOLDER INPUT OUTPUT < image > probabilities
 *
 * INPUT and OUTPUT are the tensors' names in the graph, without ":0" (shown by
 * saved_model_cli); the image is 8 x 8 bytes, the probabilities a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output named(TF_Graph* graph, char* name) {
  char* colon = strchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper) return output;
  fprintf(stderr, "%s is not in the graph\n", name);
  exit(1);
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Graph* graph = TF_NewGraph();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  const int64_t shape[] = {1, 8, 8, 1};
  TF_Tensor* image = TF_AllocateTensor(TF_UINT8, shape, 4, 64);
  if (fread(TF_TensorData(image), 1, 64, stdin) != 64) return 2;
  TF_Output input = named(graph, argv[2]), output = named(graph, argv[3]);
  TF_Tensor* answer = NULL;
  TF_SessionRun(session, NULL, &input, &image, 1, &output, &answer, 1, NULL, 0,
                NULL, status);
  check(status, "run");

  const float* probabilities = TF_TensorData(answer);
  for (int64_t i = 0; i < TF_Dim(answer, 1); ++i)
    printf("%.9g\n", probabilities[i]);
  TF_DeleteTensor(answer);
  TF_DeleteTensor(image);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
  return 0;
}
